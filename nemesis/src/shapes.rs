//! The shapes of partitions: which link is cut in which direction.
//!
//! A cut is a pair (from, to): `to` drops what `from` sends. A link is cut when both directions are.

use std::slice;

use serde::{Deserialize, Serialize};

use crate::timeline::{Direction, Partition};

/// One direction of one link: what `from` sends does not reach `to`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cut {
    /// The sender.
    pub from: String,
    /// The receiver, which drops.
    pub to: String,
}

/// The fewest nodes of a majorities ring. On three nodes no choice of links lets everybody see a majority and miss somebody:
/// it would be a bridge.
pub const RING_MIN: usize = 4;

/// The cuts of `partition`, each once, in a fixed order. `None` for the one shape that depends on who leads.
pub fn cuts(partition: &Partition) -> Option<Vec<Cut>> {
    Some(match partition {
        Partition::Halves { sides } | Partition::Bridge { sides, bridge: _ } => between(sides),
        Partition::One { node, rest } => between(&[vec![node.clone()], rest.clone()]),
        Partition::MajoritiesRing { ring } => ring_cuts(ring),
        Partition::IsolateLeader => return None,
        Partition::OneWay { node, direction: Direction::CannotSend, rest } => {
            one_way(slice::from_ref(node), rest)
        }
        Partition::OneWay { node, direction: Direction::CannotReceive, rest } => {
            one_way(rest, slice::from_ref(node))
        }
        Partition::Groups { groups } => between(groups),
        Partition::Cut { from, to } => one_way(from, to),
    })
}

fn one_way(from: &[String], to: &[String]) -> Vec<Cut> {
    let pairs = from.iter().flat_map(|from| to.iter().map(move |to| (from, to)));
    pairs
        .filter(|(from, to)| from != to)
        .map(|(from, to)| Cut { from: from.clone(), to: to.clone() })
        .collect()
}

/// No group sees another one.
fn between(groups: &[Vec<String>]) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for (position, group) in groups.iter().enumerate() {
        for (other_position, other) in groups.iter().enumerate() {
            if position != other_position {
                cuts.extend(one_way(group, other));
            }
        }
    }
    cuts
}

fn ring_cuts(ring: &[String]) -> Vec<Cut> {
    let linked = ring_links(ring.len());
    let mut cuts = Vec::new();
    for (from, sender) in ring.iter().enumerate() {
        for (to, receiver) in ring.iter().enumerate() {
            if from != to && !linked.contains(&(from.min(to), from.max(to))) {
                cuts.push(Cut { from: sender.clone(), to: receiver.clone() });
            }
        }
    }
    cuts
}

/// The links that stay on a majorities ring of `count` nodes, as (smaller, larger) position.
///
/// Each node keeps its nearest neighbours on both sides, as many as make a majority with itself. Where a majority wants an
/// odd number of neighbours, the last one is the node opposite. With an odd number of nodes that does not come out
/// even: one node then sees one more than the majority.
fn ring_links(count: usize) -> Vec<(usize, usize)> {
    let neighbours = count / 2;
    let mut links = Vec::new();
    let mut link = |one: usize, other: usize| {
        let pair = (one.min(other), one.max(other));
        if one != other && !links.contains(&pair) {
            links.push(pair);
        }
    };
    for node in 0..count {
        for distance in 1..=neighbours / 2 {
            link(node, (node + distance) % count);
        }
    }
    if neighbours % 2 == 1 {
        let opposite = count / 2;
        for node in 0..opposite {
            link(node, node + opposite);
        }
        if count % 2 == 1 {
            link(count - 1, (count - 1 + opposite) % count);
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|number| format!("n{number}")).collect()
    }

    /// Whom each node hears, itself included.
    fn hears(nodes: &[String], cuts: &[Cut]) -> Vec<BTreeSet<String>> {
        let heard = |to: &String| {
            nodes
                .iter()
                .filter(|from| !cuts.iter().any(|cut| cut.from == **from && cut.to == *to))
                .cloned()
                .collect()
        };
        nodes.iter().map(heard).collect()
    }

    fn symmetric(cuts: &[Cut]) -> bool {
        cuts.iter().all(|cut| cuts.contains(&Cut { from: cut.to.clone(), to: cut.from.clone() }))
    }

    fn without_repeats(cuts: &[Cut]) -> bool {
        cuts.iter().collect::<BTreeSet<_>>().len() == cuts.len() && cuts.iter().all(|cut| cut.from != cut.to)
    }

    #[test]
    fn on_a_majorities_ring_each_sees_a_majority_and_no_two_the_same() {
        for count in RING_MIN..=25 {
            let nodes = names(count);
            let cuts = cuts(&Partition::MajoritiesRing { ring: nodes.clone() }).unwrap();
            assert!(symmetric(&cuts) && without_repeats(&cuts), "{count}");
            let seen = hears(&nodes, &cuts);
            let majority = count / 2 + 1;
            let generous = seen.iter().filter(|heard| heard.len() == majority + 1).count();
            assert!(
                seen.iter().all(|heard| heard.len() == majority || heard.len() == majority + 1),
                "{count}: {seen:?}"
            );
            assert!(generous <= 1, "{count}: the ring cuts less than it could: {seen:?}");
            assert_eq!(
                seen.iter().collect::<BTreeSet<_>>().len(),
                count,
                "{count}: two see the same: {seen:?}"
            );
        }
    }

    #[test]
    fn no_choice_of_links_makes_a_majorities_ring_of_three() {
        let pairs = [(0, 1), (0, 2), (1, 2)];
        for kept in 0..8_u32 {
            let links: Vec<(usize, usize)> = pairs
                .iter()
                .enumerate()
                .filter(|(bit, _)| kept >> bit & 1 == 1)
                .map(|(_, pair)| *pair)
                .collect();
            let sees = |node: usize| -> BTreeSet<usize> {
                (0..3)
                    .filter(|&other| other == node || links.contains(&(node.min(other), node.max(other))))
                    .collect()
            };
            let seen: Vec<BTreeSet<usize>> = (0..3).map(sees).collect();
            let majorities = seen.iter().all(|seen| seen.len() >= 2);
            let everybody_misses_somebody = seen.iter().all(|seen| seen.len() < 3);
            assert!(!(majorities && everybody_misses_somebody), "{links:?}");
        }
    }

    proptest! {
        #[test]
        fn sides_see_themselves_only(count in 2_usize..10, at in 1_usize..9) {
            let nodes = names(count);
            let (left, right) = nodes.split_at(at.min(count - 1));
            let cuts = cuts(&Partition::Halves { sides: [left.to_vec(), right.to_vec()] }).unwrap();
            prop_assert!(symmetric(&cuts) && without_repeats(&cuts));
            for (node, heard) in nodes.iter().zip(hears(&nodes, &cuts)) {
                let side = if left.contains(node) { left } else { right };
                prop_assert_eq!(heard, side.iter().cloned().collect::<BTreeSet<_>>());
            }
        }

        #[test]
        fn an_isolated_node_sees_nobody_and_nobody_it(count in 2_usize..10, at in 0_usize..9) {
            let nodes = names(count);
            let node = nodes[at % count].clone();
            let rest: Vec<String> = nodes.iter().filter(|name| **name != node).cloned().collect();
            let cuts = cuts(&Partition::One { node: node.clone(), rest: rest.clone() }).unwrap();
            prop_assert!(symmetric(&cuts) && without_repeats(&cuts));
            prop_assert_eq!(cuts.len(), 2 * (count - 1));
            prop_assert!(cuts.iter().all(|cut| cut.from == node || cut.to == node));
        }

        #[test]
        fn a_bridge_sees_everybody_and_joins_sides_that_do_not(count in 3_usize..10, at in 0_usize..9) {
            let nodes = names(count);
            let bridge = nodes[at % count].clone();
            let others: Vec<String> = nodes.iter().filter(|name| **name != bridge).cloned().collect();
            let (left, right) = others.split_at(others.len() / 2);
            let cuts = cuts(&Partition::Bridge { sides: [left.to_vec(), right.to_vec()], bridge: bridge.clone() }).unwrap();
            prop_assert!(symmetric(&cuts) && without_repeats(&cuts));
            for (node, heard) in nodes.iter().zip(hears(&nodes, &cuts)) {
                if *node == bridge {
                    prop_assert_eq!(heard.len(), count);
                } else {
                    let side = if left.contains(node) { left } else { right };
                    prop_assert!(heard.contains(&bridge));
                    prop_assert_eq!(heard.len(), side.len() + 1);
                }
            }
        }

        #[test]
        fn one_way_leaves_the_other_way_open(count in 2_usize..10, at in 0_usize..9, mute in any::<bool>()) {
            let nodes = names(count);
            let node = nodes[at % count].clone();
            let rest: Vec<String> = nodes.iter().filter(|name| **name != node).cloned().collect();
            let direction = if mute { Direction::CannotSend } else { Direction::CannotReceive };
            let cuts = cuts(&Partition::OneWay { node: node.clone(), direction, rest }).unwrap();
            prop_assert!(without_repeats(&cuts));
            prop_assert_eq!(cuts.len(), count - 1);
            for cut in &cuts {
                prop_assert_eq!(if mute { &cut.from } else { &cut.to }, &node);
                let back = Cut { from: cut.to.clone(), to: cut.from.clone() };
                prop_assert!(!cuts.contains(&back));
            }
        }

        #[test]
        fn groups_see_themselves_and_whoever_is_in_none(sizes in prop::collection::vec(1_usize..3, 2..4), free in 0_usize..3) {
            let nodes = names(sizes.iter().sum::<usize>() + free);
            let mut rest = nodes.as_slice();
            let mut groups = Vec::new();
            for size in &sizes {
                let (group, tail) = rest.split_at(*size);
                groups.push(group.to_vec());
                rest = tail;
            }
            let cuts = cuts(&Partition::Groups { groups: groups.clone() }).unwrap();
            prop_assert!(symmetric(&cuts) && without_repeats(&cuts));
            for (node, heard) in nodes.iter().zip(hears(&nodes, &cuts)) {
                let expected = groups.iter().find(|group| group.contains(node)).map_or(nodes.len(), |group| group.len() + free);
                prop_assert_eq!(heard.len(), expected);
            }
        }
    }
}
