//! What is kept of the nodes after a run, also after one that failed.

use std::fs;
use std::time::Duration;

use crate::support::{Place, says, short_test, start};

const PATIENCE: Duration = Duration::from_secs(60);

/// A system that rotates its logs and is never healthy. On the second node its log goes missing.
const ROTATES: &str = "name: odd
description: Rotates its logs and is never healthy
install: { binaries: [sh] }
ports: { client: 7100 }
files:
  - path: \"{{ data }}/odd.conf\"
    template: \"name = {{ node.name }}\\n\"
processes:
  - name: odd
    command:
      - \"{{ bin.sh }}\"
      - -c
      - |
        cd {{ log_dir }}
        echo newest
        echo older > odd.log.1
        mkdir old
        head -c 3000000 /dev/zero | tr '\\0' z > old/odd.log.2
        if [ {{ node.name }} = n2 ]; then rm odd.log; fi
        exec sleep 1000
health: { probe: { http: { request: { port: client, path: / } } }, deadline: 1s }
stop: { grace: 200ms }
clients: [{ client: demo, port: client }]
";

#[test]
fn logs_configuration_and_versions_of_a_run_that_failed_are_kept() {
    let place = Place::new();
    place.file("test.yaml", &short_test("").replace("system: demo", "system: ./odd.yaml"));
    place.file("odd.yaml", ROTATES);
    start(&place, &[]).finish(PATIENCE).expect(5);
    let nodes = place.latest().join("nodes");
    let read = |node: &str, name: &str| fs::read_to_string(nodes.join(node).join(name)).unwrap();
    for node in ["n1", "n2", "n3"] {
        assert_eq!(read(node, "odd.log.1"), "older\n");
        let rotated = read(node, "old/odd.log.2");
        assert!(rotated.len() == 3_000_000 && rotated.bytes().all(|byte| byte == b'z'), "{}", rotated.len());
        let config: Vec<_> = walk(&nodes.join(node).join("config"));
        assert_eq!(config.len(), 1, "{config:?}");
        assert_eq!(fs::read_to_string(&config[0]).unwrap(), format!("name = {node}\n"));
        assert_eq!(read(node, "versions/schism"), format!("{}\n", env!("CARGO_PKG_VERSION")));
        assert_eq!(read(node, "versions/kernel"), fs::read_to_string("/proc/sys/kernel/osrelease").unwrap());
        says(&read(node, "versions/odd.command"), &["exec sleep 1000"]);
    }
    for node in ["n1", "n3"] {
        assert_eq!(read(node, "odd.log"), "newest\n");
        assert!(!nodes.join(node).join("missing.txt").exists());
    }
    // What is missing is named, there and in the log, and is no reason of its own.
    let missing = read("n2", "missing.txt");
    assert_eq!(missing.lines().count(), 1, "{missing}");
    says(&missing, &["odd.log of n2: ", "No such file"]);
    says(
        &fs::read_to_string(place.latest().join("schism.log")).unwrap(),
        &["not collected", "odd.log of n2"],
    );
    assert_eq!(place.results()["reasons"].as_array().unwrap().len(), 1);
}

/// Every file below a directory.
fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}

/// The packets of a pcap file of this machine's byte order: who sent each to whom, where it is IPv4.
fn packets(file: &[u8]) -> Vec<([u8; 4], [u8; 4])> {
    assert_eq!(file[..4], 0xa1b2_c3d4_u32.to_ne_bytes(), "the magic number");
    assert_eq!(file[20..24], 113_u32.to_ne_bytes(), "the kind of link");
    let mut found = Vec::new();
    let mut rest = &file[24..];
    while !rest.is_empty() {
        let number = |at: usize| u32::from_ne_bytes(rest[at..at + 4].try_into().unwrap()) as usize;
        let (kept, whole) = (number(8), number(12));
        assert!(kept <= whole && kept <= 272, "{kept} of {whole}");
        let packet = &rest[16..16 + kept];
        if packet[14..16] == [8, 0] {
            let address = |at: usize| packet[16 + at..16 + at + 4].try_into().unwrap();
            found.push((address(12), address(16)));
        }
        rest = &rest[16 + kept..];
    }
    found
}

#[test]
fn packets_are_recorded_while_a_fault_is_in_force() {
    let cut = "{ at: 200ms, for: 400ms, fault: { partition: { shape: { cut: { from: [n1], to: [n2] } } } } }";
    let pause = "{ at: 700ms, for: 200ms, fault: { pause: { targets: n3 } } }";
    let place = Place::new();
    place
        .file("test.yaml", &short_test(&format!("nemesis: {{ capture: true, timeline: [{cut}, {pause}] }}")));
    start(&place, &[]).finish(PATIENCE).expect(0);
    let log = fs::read_to_string(place.latest().join("schism.log")).unwrap();
    assert!(!log.contains("not captured"), "{log}");
    for node in 1..=3_u8 {
        let faults = place.latest().join(format!("nodes/n{node}/faults"));
        let own = [10, 83, 0, node];
        for name in ["partition-1.pcap", "pause-1.pcap"] {
            let file = fs::read(faults.join(name)).unwrap();
            let packets = packets(&file);
            assert!(
                packets.iter().any(|(from, _)| *from == own),
                "n{node} sent nothing: {name}, {} bytes",
                file.len()
            );
            // No others' but what is for everybody.
            let strange = packets.iter().find(|(from, to)| *from != own && *to != own && to[0] < 224);
            assert_eq!(strange, None, "n{node}: {name}");
        }
    }
    // What is dropped on arrival is seen all the same.
    let cut = packets(&fs::read(place.latest().join("nodes/n2/faults/partition-1.pcap")).unwrap());
    assert!(cut.contains(&([10, 83, 0, 1], [10, 83, 0, 2])), "{cut:?}");
}
