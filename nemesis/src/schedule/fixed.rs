//! The fixed timeline: times from the file, only nodes are drawn.

use schism_history::Random;

use super::choice::{Busy, down, expand, too_many};
use super::{Cluster, Dated, Errors, below};
use crate::spec::{FaultSpec, TimelineEntry};

/// Plans `entries`, sorted by their start.
pub(super) fn plan(
    entries: &[TimelineEntry],
    cluster: Cluster<'_>,
    seed: u64,
    limit_ns: u64,
    errors: &mut Errors,
) -> Vec<Dated> {
    let path = ["nemesis".to_owned(), "timeline".to_owned()];
    if entries.is_empty() {
        errors.add(
            &path,
            "the timeline is empty; add an entry with `at`, `for` and `fault`, or leave `nemesis` out",
        );
    }
    let mut order: Vec<(usize, &TimelineEntry)> = entries.iter().enumerate().collect();
    order.sort_by_key(|(_, entry)| entry.at);
    let mut random = Random::new(seed, "nemesis");
    let mut planned: Vec<(usize, Dated)> = Vec::new();
    for (position, entry) in order {
        let path = below(&path, &[&position.to_string()]);
        if let Some(dated) = place(entry, &path, cluster, &planned, limit_ns, &mut random, errors) {
            planned.push((position, dated));
        }
    }
    // Checked in the order of time, told in the order of the file.
    errors.0.sort_by_key(|error| error.path.get(2).and_then(|position| position.parse::<usize>().ok()));
    planned.into_iter().map(|(_, dated)| dated).collect()
}

fn place(
    entry: &TimelineEntry,
    path: &[String],
    cluster: Cluster<'_>,
    planned: &[(usize, Dated)],
    limit_ns: u64,
    random: &mut Random,
    errors: &mut Errors,
) -> Option<Dated> {
    let (at_ns, for_ns) = (entry.at.nanos(), entry.lasting.nanos());
    let before = errors.0.len();
    if at_ns >= limit_ns {
        let limit = schism_units::Span(std::time::Duration::from_nanos(limit_ns));
        let message = format!(
            "starts at {}, and the run ends at {limit}; start it earlier or raise `time-limit`",
            entry.at
        );
        errors.add(&below(path, &["at"]), message);
    }
    if for_ns == 0 {
        errors.add(
            &below(path, &["for"]),
            "is zero; a fault that lasts no time does nothing, write for example 5s",
        );
    }
    let fault_path = below(path, &["fault"]);
    let (key, written) = match &entry.fault {
        FaultSpec::Partition(partition) => (["partition", "shape"], partition.shape.values().len()),
        FaultSpec::Kill(process) => (["kill", "targets"], process.targets.values().len()),
        FaultSpec::Pause(process) => (["pause", "targets"], process.targets.values().len()),
    };
    let choices = expand(&entry.fault, &fault_path, cluster, errors);
    if written > 1 {
        let message = "a timeline leaves nothing to choose: write one value, not a list (n1+n2 hits both nodes at once)";
        errors.add(&below(&fault_path, &key), message);
    }
    if errors.0.len() > before {
        return None;
    }
    let choice = random.pick(&choices)?;
    let overlapping = planned.iter().filter(|(_, earlier)| earlier.end_ns() > at_ns);
    let busy = Busy::of(overlapping.clone().map(|(_, earlier)| &earlier.fault));
    if busy.certainly_hit_by(choice, cluster) {
        let earlier: Vec<String> = overlapping
            .clone()
            .filter(|(_, earlier)| {
                Busy::of(std::iter::once(&earlier.fault)).certainly_hit_by(choice, cluster)
            })
            .map(|(position, earlier)| format!("timeline entry {position} ({})", earlier.fault.describe()))
            .collect();
        let with = if earlier.is_empty() { "earlier entries".to_owned() } else { earlier.join(" and ") };
        let message = format!(
            "hits a process that {with} has not given back yet; start it later, shorten the other or choose other nodes"
        );
        errors.add(&fault_path, message);
        return None;
    }
    let together = down(overlapping.map(|(_, earlier)| &earlier.fault), cluster) + choice.down(cluster);
    if choice.down(cluster) > 0 && together > cluster.down_max {
        let what = format!("with what is down then, takes {together} of {} nodes down", cluster.nodes.len());
        errors.add(&fault_path, too_many(&what, together, cluster));
        return None;
    }
    let fault = choice.draw(cluster, &busy, random);
    Some(Dated { at_ns, for_ns: for_ns.min(limit_ns - at_ns), fault })
}
