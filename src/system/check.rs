//! What a schema cannot say about a system: names that must exist, templates that must work.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::def::{Argument, HealthProbe, HttpProbe, LeaderProbe, SystemDef};
use super::render::{ClusterNode, NodeContext, binaries_context, render};
use super::template::{self, TemplateError};
use crate::spec::{Problem, Source, nearest};

/// Everything that is wrong with a system, in no particular order.
pub(super) fn check(def: &SystemDef, source: &Source) -> Vec<Problem> {
    let mut check = Check { def, source, problems: Vec::new() };
    check.names();
    check.settings();
    check.ports();
    check.clients();
    check.templates();
    check.expressions();
    if check.problems.is_empty() {
        check.trial();
    }
    check.problems
}

struct Check<'a> {
    def: &'a SystemDef,
    source: &'a Source,
    problems: Vec<Problem>,
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(|part| (*part).to_owned()).collect()
}

/// A name that is safe in a path, a command and a template.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

impl Check<'_> {
    fn wrong(&mut self, path: &[&str], message: String) {
        self.problems.push(self.source.problem(&owned(path), message));
    }

    fn wrong_key(&mut self, path: &[&str], message: String) {
        self.problems.push(self.source.problem_with_key(&owned(path), message));
    }

    fn template(&mut self, path: &[&str], result: Result<(), TemplateError>) {
        if let Err(TemplateError { message, line, column }) = result {
            let message = format!("the template is wrong: {message}");
            self.problems.push(self.source.problem_inside(&owned(path), (line, column), message));
        }
    }

    fn names(&mut self) {
        let rule = "start with a small letter and go on with small letters, digits and hyphens";
        let def = self.def;
        if !is_name(&def.name) {
            self.wrong(&["name"], format!("`{}` cannot be a system's name; {rule}", def.name));
        }
        let mut seen = BTreeSet::new();
        for (index, process) in def.processes.iter().enumerate() {
            let at = ["processes", &index.to_string(), "name"];
            if !is_name(&process.name) {
                self.wrong(&at, format!("`{}` cannot be a process's name; {rule}", process.name));
            }
            if !seen.insert(&process.name) {
                self.wrong(&at, format!("two processes are called `{}`", process.name));
            }
        }
        for (index, binary) in def.install.binaries.iter().enumerate() {
            if binary.is_empty() || binary.contains('/') {
                let message = format!("`{binary}` must be the bare name of a program, like etcd");
                self.wrong(&["install", "binaries", &index.to_string()], message);
            }
        }
        // Templates read them as `ports.NAME` and `settings.NAME`, where a hyphen would be a minus.
        let is_variable = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        for name in def.ports.keys().filter(|name| !is_variable(name)) {
            self.wrong_key(
                &["ports", name],
                format!("`{name}` cannot be a port's name; use letters, digits and `_`"),
            );
        }
        for name in def.settings.keys().filter(|name| !is_variable(name)) {
            self.wrong_key(
                &["settings", name],
                format!("`{name}` cannot be a setting's name; use letters, digits and `_`"),
            );
        }
    }

    fn settings(&mut self) {
        let def = self.def;
        for (name, setting) in &def.settings {
            for (index, choice) in setting.choices.iter().enumerate() {
                if let Err(message) = setting.check(choice) {
                    self.wrong(&["settings", name, "choices", &index.to_string()], message);
                }
            }
            if let Some(Err(message)) = setting.default.as_ref().map(|default| setting.check(default)) {
                self.wrong(&["settings", name, "default"], format!("the default does not fit: {message}"));
            }
        }
    }

    fn ports(&mut self) {
        let def = self.def;
        let mut used: Vec<(Vec<String>, &str)> = Vec::new();
        let HealthProbe::Http(health) = &def.health.probe;
        used.push((owned(&["health", "probe", "http", "request", "port"]), &health.request.port));
        if let Some(leader) = &def.roles.leader {
            let LeaderProbe::Http(probe) = &leader.probe;
            used.push((owned(&["roles", "leader", "probe", "http", "request", "port"]), &probe.request.port));
        }
        for (index, client) in def.clients.iter().enumerate() {
            used.push((owned(&["clients", &index.to_string(), "port"]), &client.port));
        }
        let known: Vec<&str> = def.ports.keys().map(String::as_str).collect();
        for (path, name) in used {
            if def.ports.contains_key(name) {
                continue;
            }
            let hint = match nearest(name, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => "declare it there".to_owned(),
                None => format!("there are: {}", known.join(", ")),
            };
            self.problems
                .push(self.source.problem(&path, format!("there is no port `{name}` under `ports`; {hint}")));
        }
        let mut taken: BTreeMap<u16, &str> = BTreeMap::new();
        for (name, port) in &def.ports {
            if let Some(other) = taken.insert(port.get(), name) {
                self.wrong(&["ports", name], format!("`{name}` and `{other}` are both port {port}"));
            }
        }
    }

    fn clients(&mut self) {
        let def = self.def;
        let known: Vec<&str> = schism_workloads::catalog().iter().map(|info| info.name).collect();
        for (index, client) in def.clients.iter().enumerate() {
            if !known.contains(&client.client.as_str()) {
                let hint = match nearest(&client.client, &known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are: {}", known.join(", ")),
                };
                let message = format!("there is no client `{}`; {hint}", client.client);
                self.wrong(&["clients", &index.to_string(), "client"], message);
            }
        }
    }

    /// Every template by itself, so that each mistake is found and not only the first.
    fn templates(&mut self) {
        let def = self.def;
        for (index, part) in def.install.version_command.iter().flatten().enumerate() {
            self.template(&["install", "version-command", &index.to_string()], template::check(part));
        }
        for (index, file) in def.files.iter().enumerate() {
            let index = index.to_string();
            self.template(&["files", &index, "path"], template::check(&file.path));
            self.template(&["files", &index, "template"], template::check(&file.template));
        }
        for (index, process) in def.processes.iter().enumerate() {
            let process_index = index.to_string();
            for (index, argument) in process.command.iter().enumerate() {
                let index = index.to_string();
                let at = ["processes", &process_index, "command", &index];
                match argument {
                    Argument::One(text) => self.template(&at, template::check(text)),
                    Argument::Each(repeat) => {
                        for (number, text) in repeat.arguments.iter().enumerate() {
                            let number = number.to_string();
                            self.template(
                                &[&at[..], &["arguments", &number]].concat(),
                                template::check(text),
                            );
                        }
                    }
                }
            }
            for (name, text) in &process.env {
                self.template(&["processes", &process_index, "env", name], template::check(text));
            }
            for (field, text) in [("directory", &process.directory), ("log", &process.log)] {
                if let Some(text) = text {
                    self.template(&["processes", &process_index, field], template::check(text));
                }
            }
        }
    }

    fn expressions(&mut self) {
        let def = self.def;
        let HealthProbe::Http(health) = &def.health.probe;
        self.probe(&["health", "probe", "http"], health);
        if let Some(leader) = &def.roles.leader {
            let LeaderProbe::Http(probe) = &leader.probe;
            self.probe(&["roles", "leader", "probe", "http"], probe);
            if let Some(term) = &leader.term {
                self.template(&["roles", "leader", "term"], template::check_expression(term));
            }
        }
    }

    fn probe(&mut self, at: &[&str], probe: &HttpProbe) {
        if let Some(when) = &probe.when {
            self.template(&[at, &["when"]].concat(), template::check_condition(when));
        }
        let request = [at, &["request"]].concat();
        self.template(&[&request[..], &["path"]].concat(), template::check(&probe.request.path));
        if let Some(body) = &probe.request.body {
            self.template(&[&request[..], &["body"]].concat(), template::check(body));
        }
        for (name, text) in &probe.request.headers {
            self.template(&[&request[..], &["headers", name]].concat(), template::check(text));
        }
    }

    /// Fills everything in for a cluster of three, to find variables that do not exist.
    fn trial(&mut self) {
        let def = self.def;
        let nodes: Vec<ClusterNode> = (1..=3)
            .map(|number| ClusterNode {
                name: format!("n{number}"),
                address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)),
            })
            .collect();
        let settings = def.settings.iter().map(|(name, setting)| (name.clone(), setting.sample())).collect();
        let binaries = def.binary_names();
        let context = NodeContext { nodes: &nodes, index: 1, settings: &settings, binaries: &binaries };
        if let Err(error) = render(def, context) {
            let inside = (error.line, error.column);
            self.problems.push(self.source.problem_inside(&error.path, inside, error.message));
        }
        for (index, part) in def.install.version_command.iter().flatten().enumerate() {
            let result = template::fill(part, &binaries_context(&binaries)).map(|_| ());
            self.template(&["install", "version-command", &index.to_string()], result);
        }
    }
}
