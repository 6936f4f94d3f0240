//! What a fault can be on this cluster: shapes and targets, checked, and how their nodes are drawn.

use schism_history::Random;

use super::{Cluster, Errors, below};
use crate::shapes::RING_MIN;
use crate::spec::{FaultSpec, OneOrMany, Shape, Target};
use crate::timeline::{Direction, FaultKind, Partition, Planned, Victims};

/// One thing that a fault can be, known to make sense on the cluster.
#[derive(Clone, Debug)]
pub(super) enum Choice {
    Partition(ShapeChoice),
    Kill(VictimChoice),
    Pause(VictimChoice),
}

#[derive(Clone, Debug)]
pub(super) enum ShapeChoice {
    Halves,
    One,
    MajoritiesRing,
    Bridge,
    OneWay(Direction),
    /// Nothing left to draw.
    Fixed(Partition),
}

#[derive(Clone, Debug)]
pub(super) enum VictimChoice {
    /// This many nodes, whichever.
    Any(usize),
    /// Nothing left to draw.
    Fixed(Victims),
}

/// How many nodes are down while these faults are in force; no two of them hit the same node.
pub(super) fn down<'a>(faults: impl Iterator<Item = &'a Planned>, cluster: Cluster<'_>) -> usize {
    faults
        .map(|fault| match fault {
            Planned::Partition(_) => 0,
            Planned::Kill(victims) | Planned::Pause(victims) => hits(victims, cluster),
        })
        .sum()
}

fn hits(victims: &Victims, cluster: Cluster<'_>) -> usize {
    match victims {
        Victims::Nodes(nodes) => nodes.len(),
        Victims::Leader => 1,
        Victims::Followers => cluster.nodes.len().saturating_sub(1),
    }
}

/// Nodes whose processes are killed or paused at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Busy {
    nodes: Vec<String>,
    /// A role is hit, and who has it is known at run time only.
    unknown: bool,
}

impl Busy {
    /// Those hit by `faults`.
    pub(super) fn of<'a>(faults: impl Iterator<Item = &'a Planned>) -> Self {
        let mut busy = Self::default();
        for fault in faults {
            match fault {
                Planned::Partition(_) => {}
                Planned::Kill(Victims::Nodes(nodes)) | Planned::Pause(Victims::Nodes(nodes)) => {
                    busy.nodes.extend(nodes.iter().cloned());
                }
                Planned::Kill(_) | Planned::Pause(_) => busy.unknown = true,
            }
        }
        busy
    }

    /// Whether `victims` certainly include one of these nodes.
    pub(super) fn certainly_hit_by(&self, choice: &Choice, cluster: Cluster<'_>) -> bool {
        match choice {
            Choice::Partition(_) => false,
            Choice::Kill(victims) | Choice::Pause(victims) => match victims {
                VictimChoice::Any(count) => self.free(cluster).len() < *count,
                VictimChoice::Fixed(Victims::Nodes(nodes)) => {
                    nodes.iter().any(|node| self.nodes.contains(node))
                }
                VictimChoice::Fixed(_) => false,
            },
        }
    }

    /// Whether `choice` could hit one of these nodes: one cannot pause what is killed, nor kill it twice.
    pub(super) fn possibly_hit_by(&self, choice: &Choice, cluster: Cluster<'_>) -> bool {
        let idle = self.nodes.is_empty() && !self.unknown;
        match choice {
            Choice::Partition(_) => false,
            Choice::Kill(VictimChoice::Fixed(Victims::Leader | Victims::Followers))
            | Choice::Pause(VictimChoice::Fixed(Victims::Leader | Victims::Followers)) => !idle,
            Choice::Kill(_) | Choice::Pause(_) => self.unknown || self.certainly_hit_by(choice, cluster),
        }
    }

    fn free(&self, cluster: Cluster<'_>) -> Vec<String> {
        cluster.nodes.iter().filter(|node| !self.nodes.contains(node)).cloned().collect()
    }
}

impl Choice {
    /// How many nodes are down while it is in force.
    pub(super) fn down(&self, cluster: Cluster<'_>) -> usize {
        match self {
            Self::Partition(_) => 0,
            Self::Kill(victims) | Self::Pause(victims) => victims.hits(cluster),
        }
    }

    pub(super) fn kind(&self) -> FaultKind {
        match self {
            Self::Partition(_) => FaultKind::Partition,
            Self::Kill(_) => FaultKind::Kill,
            Self::Pause(_) => FaultKind::Pause,
        }
    }

    /// Decides everything random, keeping off `busy` nodes.
    pub(super) fn draw(&self, cluster: Cluster<'_>, busy: &Busy, random: &mut Random) -> Planned {
        match self {
            Self::Partition(shape) => Planned::Partition(shape.draw(cluster.nodes, random)),
            Self::Kill(victims) => Planned::Kill(victims.draw(cluster, busy, random)),
            Self::Pause(victims) => Planned::Pause(victims.draw(cluster, busy, random)),
        }
    }
}

impl ShapeChoice {
    fn draw(&self, nodes: &[String], random: &mut Random) -> Partition {
        match self {
            Self::Fixed(partition) => partition.clone(),
            Self::Halves => Partition::Halves { sides: halves(nodes, random) },
            Self::One => {
                let (node, rest) = single_out(nodes, random);
                Partition::One { node, rest }
            }
            Self::MajoritiesRing => {
                let mut ring = nodes.to_vec();
                random.shuffle(&mut ring);
                Partition::MajoritiesRing { ring }
            }
            Self::Bridge => {
                let (bridge, rest) = single_out(nodes, random);
                Partition::Bridge { sides: halves(&rest, random), bridge }
            }
            Self::OneWay(direction) => {
                let (node, rest) = single_out(nodes, random);
                Partition::OneWay { node, direction: *direction, rest }
            }
        }
    }
}

impl VictimChoice {
    /// How many nodes it takes down.
    fn hits(&self, cluster: Cluster<'_>) -> usize {
        match self {
            Self::Any(count) => *count,
            Self::Fixed(victims) => hits(victims, cluster),
        }
    }

    fn draw(&self, cluster: Cluster<'_>, busy: &Busy, random: &mut Random) -> Victims {
        match self {
            Self::Fixed(victims) => victims.clone(),
            Self::Any(count) => Victims::Nodes(some(&busy.free(cluster), *count, random)),
        }
    }
}

/// `count` of `nodes`, in their order.
fn some(nodes: &[String], count: usize, random: &mut Random) -> Vec<String> {
    let mut positions: Vec<usize> = (0..nodes.len()).collect();
    random.shuffle(&mut positions);
    positions.truncate(count);
    nodes.iter().enumerate().filter(|(at, _)| positions.contains(at)).map(|(_, node)| node.clone()).collect()
}

/// Two sides of `nodes`; of an odd number, either side may be the larger one.
fn halves(nodes: &[String], random: &mut Random) -> [Vec<String>; 2] {
    let odd_one = random.below(2) as usize * (nodes.len() % 2);
    let left = some(nodes, nodes.len() / 2 + odd_one, random);
    let right = nodes.iter().filter(|node| !left.contains(node)).cloned().collect();
    [left, right]
}

/// One of `nodes`, and the others. There is at least one: [`plan`](super::plan) checked.
fn single_out(nodes: &[String], random: &mut Random) -> (String, Vec<String>) {
    let position = random.below(nodes.len() as u64) as usize;
    let mut rest = nodes.to_vec();
    (rest.remove(position), rest)
}

/// Everything that `fault` can be. What makes no sense on the cluster is an error below `path`.
pub(super) fn expand(
    fault: &FaultSpec,
    path: &[String],
    cluster: Cluster<'_>,
    errors: &mut Errors,
) -> Vec<Choice> {
    match fault {
        FaultSpec::Partition(partition) => {
            let path = below(path, &["partition", "shape"]);
            each(&partition.shape, &path, "shape", errors, |shape, path, errors| {
                shape_choices(shape, path, cluster, errors)
            })
            .into_iter()
            .map(Choice::Partition)
            .collect()
        }
        FaultSpec::Kill(process) => victims(&process.targets, "kill", path, cluster, errors, Choice::Kill),
        FaultSpec::Pause(process) => victims(&process.targets, "pause", path, cluster, errors, Choice::Pause),
    }
}

fn victims(
    targets: &OneOrMany<Target>,
    verb: &str,
    path: &[String],
    cluster: Cluster<'_>,
    errors: &mut Errors,
    choice: impl Fn(VictimChoice) -> Choice,
) -> Vec<Choice> {
    let path = below(path, &[verb, "targets"]);
    each(targets, &path, "target", errors, |target, path, errors| {
        let choice = victim_choice(target, verb, path, cluster, errors);
        choice.filter(|choice| is_allowed(choice, path, cluster, errors)).into_iter().collect()
    })
    .into_iter()
    .map(choice)
    .collect()
}

fn each<T, C>(
    values: &OneOrMany<T>,
    path: &[String],
    noun: &str,
    errors: &mut Errors,
    mut choices: impl FnMut(&T, &[String], &mut Errors) -> Vec<C>,
) -> Vec<C> {
    if values.values().is_empty() {
        errors.add(path, format!("the list is empty; name at least one {noun}"));
    }
    let mut found = Vec::new();
    for (position, value) in values.values().iter().enumerate() {
        let mut path = path.to_vec();
        path.extend(values.path(position));
        found.extend(choices(value, &path, errors));
    }
    found
}

fn shape_choices(
    shape: &Shape,
    path: &[String],
    cluster: Cluster<'_>,
    errors: &mut Errors,
) -> Vec<ShapeChoice> {
    let (name, nodes_min) = match shape {
        Shape::Halves => ("halves", 2),
        Shape::One => ("one", 2),
        Shape::MajoritiesRing => ("majorities-ring", RING_MIN),
        Shape::Bridge => ("bridge", 3),
        Shape::IsolateLeader => ("isolate-leader", 2),
        Shape::OneWay => ("one-way", 2),
        Shape::Groups(_) => ("groups", 2),
        Shape::Cut(_) => ("cut", 2),
    };
    let count = cluster.nodes.len();
    if count < nodes_min {
        let hint =
            if count < 2 { "add nodes, or leave partitions out" } else { "add nodes, or use halves or one" };
        errors.add(
            path,
            format!("`{name}` needs at least {nodes_min} nodes and the cluster has {count}; {hint}"),
        );
        return Vec::new();
    }
    match shape {
        Shape::Halves => vec![ShapeChoice::Halves],
        Shape::One => vec![ShapeChoice::One],
        Shape::MajoritiesRing => vec![ShapeChoice::MajoritiesRing],
        Shape::Bridge => vec![ShapeChoice::Bridge],
        Shape::OneWay => {
            vec![ShapeChoice::OneWay(Direction::CannotSend), ShapeChoice::OneWay(Direction::CannotReceive)]
        }
        Shape::IsolateLeader => {
            if !cluster.has_leader {
                errors.add(path, format!("{}; use `one`", no_leader("isolate-leader")));
                return Vec::new();
            }
            vec![ShapeChoice::Fixed(Partition::IsolateLeader)]
        }
        Shape::Groups(groups) => {
            let path = below(path, &["groups"]);
            if !groups_make_sense(groups, &path, cluster, errors) {
                return Vec::new();
            }
            vec![ShapeChoice::Fixed(Partition::Groups { groups: groups.clone() })]
        }
        Shape::Cut(cut) => {
            let path = below(path, &["cut"]);
            let mut sound = true;
            for (key, names) in [("from", &cut.from), ("to", &cut.to)] {
                let path = below(&path, &[key]);
                if names.is_empty() {
                    errors.add(&path, "the list is empty; name at least one node");
                    sound = false;
                }
                sound &= names_make_sense(names, |at| below(&path, &[&at.to_string()]), &[], cluster, errors);
            }
            if let Some(both) = cut.from.iter().find(|name| cut.to.contains(name)) {
                errors.add(
                    &path,
                    format!("`{both}` is in `from` and in `to`; a node is never cut from itself"),
                );
                sound = false;
            }
            if !sound {
                return Vec::new();
            }
            vec![ShapeChoice::Fixed(Partition::Cut { from: cut.from.clone(), to: cut.to.clone() })]
        }
    }
}

fn groups_make_sense(
    groups: &[Vec<String>],
    path: &[String],
    cluster: Cluster<'_>,
    errors: &mut Errors,
) -> bool {
    let mut sound = true;
    if groups.len() < 2 {
        errors.add(path, "a split needs at least two groups, like [[n1, n2], [n3, n4, n5]]");
        sound = false;
    }
    for (at, group) in groups.iter().enumerate() {
        let path = below(path, &[&at.to_string()]);
        if group.is_empty() {
            errors.add(&path, "the group is empty; name its nodes or remove it");
            sound = false;
        }
        sound &= names_make_sense(group, |at| below(&path, &[&at.to_string()]), &[], cluster, errors);
        for (place, name) in group.iter().enumerate() {
            if groups[..at].iter().any(|earlier| earlier.contains(name)) {
                let path = below(&path, &[&place.to_string()]);
                errors.add(&path, format!("`{name}` is in two groups; a node that sees both goes into none"));
                sound = false;
            }
        }
    }
    sound
}

fn victim_choice(
    target: &Target,
    verb: &str,
    path: &[String],
    cluster: Cluster<'_>,
    errors: &mut Errors,
) -> Option<VictimChoice> {
    let count = cluster.nodes.len();
    match target {
        Target::One => Some(VictimChoice::Any(1)),
        Target::Majority => Some(VictimChoice::Any(count / 2 + 1)),
        Target::All => Some(VictimChoice::Any(count)),
        Target::Minority => {
            let minority = (count - 1) / 2;
            if minority == 0 {
                let message =
                    format!("{} no minority that leaves a majority; use `one` or add nodes", having(count));
                errors.add(path, message);
                return None;
            }
            Some(VictimChoice::Any(minority))
        }
        Target::Count(0) => {
            errors.add(path, format!("`{verb}` of 0 nodes hits nobody; write at least 1"));
            None
        }
        Target::Count(wanted) => match usize::try_from(*wanted) {
            Ok(wanted) if wanted <= count => Some(VictimChoice::Any(wanted)),
            _ => {
                let message = format!(
                    "cannot {verb} {wanted} nodes: the cluster has {count}; write at most {count}, or `all`"
                );
                errors.add(path, message);
                None
            }
        },
        Target::Leader | Target::Followers => {
            let (role, victims) = match target {
                Target::Leader => ("leader", Victims::Leader),
                _ => ("followers", Victims::Followers),
            };
            if !cluster.has_leader {
                errors.add(path, format!("{}; use `one` or `minority`", no_leader(role)));
                return None;
            }
            if count < 2 && victims == Victims::Followers {
                errors.add(path, "one node has no followers; use `leader` or add nodes");
                return None;
            }
            Some(VictimChoice::Fixed(victims))
        }
        Target::Nodes(names) => {
            let known = names_make_sense(names, |_| path.to_vec(), &Target::WORDS, cluster, errors);
            let in_order = cluster.nodes.iter().filter(|node| names.contains(node)).cloned().collect();
            known.then_some(VictimChoice::Fixed(Victims::Nodes(in_order)))
        }
    }
}

/// Whether a fault may take as many nodes down as `choice` does.
fn is_allowed(choice: &VictimChoice, path: &[String], cluster: Cluster<'_>, errors: &mut Errors) -> bool {
    let (hits, count) = (choice.hits(cluster), cluster.nodes.len());
    if hits <= cluster.down_max {
        return true;
    }
    errors.add(path, too_many(&format!("takes {hits} of {count} nodes down"), hits, cluster));
    false
}

/// What to say where more nodes would be down than may be.
pub(super) fn too_many(what: &str, down: usize, cluster: Cluster<'_>) -> String {
    let count = cluster.nodes.len();
    let word = match down {
        all if all >= count => "all".to_owned(),
        majority if majority == count / 2 + 1 => "majority".to_owned(),
        number => number.to_string(),
    };
    format!(
        "{what}, and no more than {} may be at once; if you want to see that many fail, say so with `max-down: {word}` below \
         `nemesis`",
        cluster.down_max
    )
}

fn having(count: usize) -> String {
    if count == 1 { "one node has".to_owned() } else { format!("{count} nodes have") }
}

fn no_leader(what: &str) -> String {
    format!("`{what}` needs a system that says who leads, and this one declares no leader role")
}

/// Whether every name is a node, and none comes twice. `words` are what else could have been meant.
fn names_make_sense(
    names: &[String],
    path: impl Fn(usize) -> Vec<String>,
    words: &[&str],
    cluster: Cluster<'_>,
    errors: &mut Errors,
) -> bool {
    let mut sound = true;
    for (at, name) in names.iter().enumerate() {
        if !cluster.nodes.contains(name) {
            errors.add(&path(at), unknown(name, words, cluster));
            sound = false;
        } else if names[..at].contains(name) {
            errors.add(&path(at), format!("`{name}` is named twice; remove one"));
            sound = false;
        }
    }
    sound
}

fn unknown(name: &str, words: &[&str], cluster: Cluster<'_>) -> String {
    if words.contains(&name) {
        return format!(
            "`{name}` stands for nodes and cannot be joined with others by +; list it on its own"
        );
    }
    let candidates = words.iter().copied().chain(cluster.nodes.iter().map(String::as_str));
    let nearest = candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(3).max(1))
        .min_by_key(|(distance, _)| *distance);
    let hint = nearest.map_or_else(String::new, |(_, candidate)| format!(" Did you mean `{candidate}`?"));
    format!("there is no node `{name}`.{hint} The nodes are {}", cluster.nodes.join(", "))
}
