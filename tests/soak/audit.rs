//! What is left on a node, seen from inside it with nothing but what anybody can read.

use std::fs;
use std::path::Path;
use std::process::Command;

use schism_nemesis::linux;

/// Where agents on nodes keep their state.
const STATE: &str = schism::agent::server::STATE_DIRECTORY;
/// The environment variable of what an agent starts.
const MARK: &[u8] = b"SCHISM_OWNER=";

/// Says what is left. `victim` expects that a process which an agent supervises runs, `nobody` that neither agent nor watchdog
/// does, `struck` that an agent may be stopped.
pub fn play(expectations: &[&str]) {
    let mut found = linux::residue().unwrap();
    if let Ok(output) = Command::new("nft").args(["list", "ruleset"]).output() {
        let listed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        found.extend(listed.lines().filter(|line| line.contains("schism")).map(str::to_owned));
    }
    for entry in journal() {
        found.push(format!("journal entry {entry}"));
    }
    let mut victims = 0;
    for pid in pids() {
        let Some(state) = state(pid) else { continue };
        let marked = fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
            environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(MARK))
        });
        victims += usize::from(marked && !matches!(state, 'Z' | 'X'));
        let command = command_line(pid);
        // Whom the soak itself stopped is no fault's.
        let struck = expectations.contains(&"struck") && command.get(1).is_some_and(|word| word == "agent");
        if matches!(state, 'T' | 't') && !struck {
            found.push(format!("process {pid} is stopped ({})", command.join(" ")));
        }
    }
    for (name, record) in records("processes") {
        if record["held_down"] == true {
            found.push(format!("process {name} is held down"));
        }
        // What was started before the power was lost is gone with it.
        let started = record["life"]["identity"].is_object() && record["life"]["scope"] == scope();
        if expectations.contains(&"victim") && started && victims == 0 {
            found.push(format!("process {name} was not started again"));
        }
    }
    if expectations.contains(&"nobody") {
        found.extend(programs().into_iter().map(|(pid, command)| format!("{command} {pid} lives")));
    }
    for (pid, command) in programs() {
        println!("sees {command} {pid} in state {:?}", state(pid));
    }
    for line in found {
        println!("found {line}");
    }
    println!("audited");
}

/// This boot, as records name it.
fn scope() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap();
    let first = fs::read_to_string("/proc/1/stat").unwrap();
    let start = first[first.rfind(')').unwrap()..].split_whitespace().nth(20).unwrap();
    format!("{} {} {start}", boot.trim(), namespace.display())
}

fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
}

fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].trim_start().chars().next()
}

fn parent(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rfind(')').map(|end| stat[end + 1..].split_whitespace());
    fields.and_then(|mut fields| fields.nth(1)?.parse().ok()).unwrap_or(0)
}

fn command_line(pid: i32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Agents and watchdogs that live: process id and subcommand. Not what an agent is about to start, which looks like an agent
/// until it is another program: stopped in that moment, it would keep the agent's lock.
pub fn programs() -> Vec<(i32, String)> {
    let mut programs = Vec::new();
    for pid in pids() {
        let dead = state(pid).is_none_or(|state| matches!(state, 'Z' | 'X'));
        if let Some(command) = command_line(pid).get(1).filter(|_| !dead)
            && ["agent", "watchdog"].contains(&command.as_str())
        {
            programs.push((pid, command.clone()));
        }
    }
    let all: Vec<i32> = programs.iter().map(|(pid, _)| *pid).collect();
    programs.retain(|(pid, command)| command == "watchdog" || !all.contains(&parent(*pid)));
    programs
}

/// The journal's entries, by file name.
pub fn journal() -> Vec<String> {
    records("journal").into_iter().map(|(name, record)| format!("{name} {}", record["fault"])).collect()
}

fn records(shelf: &str) -> Vec<(String, serde_json::Value)> {
    // An agent makes it.
    let Ok(entries) = fs::read_dir(Path::new(STATE).join(shelf)) else { return Vec::new() };
    let mut records = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        // It may be removed meanwhile.
        let Ok(text) = fs::read(&path) else { continue };
        if path.extension().is_some_and(|extension| extension == "json") {
            records.push((
                path.file_name().unwrap().to_string_lossy().into_owned(),
                serde_json::from_slice(&text).unwrap(),
            ));
        }
    }
    records
}
