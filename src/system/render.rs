//! Fills the templates of a system in for one node.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tera::Context;

use super::def::{Argument, HealthProbe, HttpProbe, LeaderProbe, Over, ProcessDef, SystemDef};
use super::setup::{FileSetup, HealthSetup, HttpSetup, LeaderSetup, NodeSetup, ProcessSetup};
use super::template::{TemplateError, fill};
use crate::agent::protocol::Command;

/// A node of the cluster, as far as templates know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClusterNode {
    /// Its name.
    pub name: String,
    /// The address other nodes know it by.
    pub address: IpAddr,
}

/// What the templates of one node see.
#[derive(Clone, Copy, Debug)]
pub struct NodeContext<'a> {
    /// The whole cluster, in order.
    pub nodes: &'a [ClusterNode],
    /// Which of them this is.
    pub index: usize,
    /// A value for every setting that the system declares.
    pub settings: &'a BTreeMap<String, Value>,
    /// The path on the node of every binary that the system declares.
    pub binaries: &'a BTreeMap<String, String>,
}

/// A template that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", path.join("."))]
pub struct RenderError {
    /// Where it stands in the system's YAML, from the top.
    pub path: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// The line inside the template, from 0.
    pub line: usize,
    /// The column inside that line, from 0.
    pub column: usize,
}

/// Fills in every template of `def` for one node.
///
/// # Errors
/// The first template that failed, with its place in the system's YAML.
pub fn render(def: &SystemDef, node: NodeContext<'_>) -> Result<NodeSetup, RenderError> {
    let Some(this) = node.nodes.get(node.index) else {
        let message = format!("there is no node {} in a cluster of {}", node.index, node.nodes.len());
        return Err(RenderError { path: Vec::new(), message, line: 0, column: 0 });
    };
    let directory = super::directory(&def.name);
    let data = format!("{directory}/data");
    let log_dir = format!("{directory}/log");
    let context = context(def, node, &data, &log_dir);

    let mut files = Vec::new();
    for (index, file) in def.files.iter().enumerate() {
        let at = |field| path(&["files", &index.to_string(), field]);
        let target = absolute(&context, &file.path, at("path"))?;
        let content = filled(&context, &file.template, at("template"))?;
        files.push(FileSetup { path: target, mode: file.mode.0, content });
    }
    let mut processes = Vec::new();
    for (index, process) in def.processes.iter().enumerate() {
        let at = path(&["processes", &index.to_string()]);
        processes.push(process_setup(process, &context, node, (&data, &log_dir), &at)?);
    }
    let HealthProbe::Http(probe) = &def.health.probe;
    let http = http_setup(def, probe, &context, &["health", "probe", "http"])?;
    let health = HealthSetup { http, deadline: def.health.deadline, every: def.health.every };
    let leader = match &def.roles.leader {
        None => None,
        Some(role) => {
            let LeaderProbe::Http(probe) = &role.probe;
            let http = http_setup(def, probe, &context, &["roles", "leader", "probe", "http"])?;
            Some(LeaderSetup { http, term: role.term.clone() })
        }
    };
    Ok(NodeSetup {
        node: this.name.clone(),
        address: this.address,
        data,
        log_dir,
        files,
        processes,
        stop_signal: def.stop.signal.number(),
        stop_grace: def.stop.grace,
        health,
        leader,
    })
}

/// The name by which templates know a binary: Tera would take a hyphen for a minus.
fn binary_name(binary: &str) -> String {
    binary.replace(['-', '.', '+'], "_")
}

/// What a template that runs on no particular node sees: the version command.
pub(super) fn binaries_context(binaries: &BTreeMap<String, String>) -> Context {
    let by_name: BTreeMap<String, &String> =
        binaries.iter().map(|(name, at)| (binary_name(name), at)).collect();
    let mut context = Context::new();
    context.insert("bin", &by_name);
    context
}

fn node_value(index: usize, node: &ClusterNode) -> Value {
    json!({ "name": node.name, "index": index, "address": node.address.to_string() })
}

fn context(def: &SystemDef, node: NodeContext<'_>, data: &str, log_dir: &str) -> Context {
    let nodes: Vec<Value> =
        node.nodes.iter().enumerate().map(|(index, node)| node_value(index, node)).collect();
    let peers: Vec<&Value> =
        nodes.iter().enumerate().filter(|(index, _)| *index != node.index).map(|(_, node)| node).collect();
    let mut context = binaries_context(node.binaries);
    context.insert("node", &nodes.get(node.index));
    context.insert("peers", &peers);
    context.insert("nodes", &nodes);
    context.insert("ports", &def.ports);
    context.insert("settings", node.settings);
    context.insert("data", data);
    context.insert("log_dir", log_dir);
    context
}

fn path(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

fn filled(context: &Context, template: &str, path: Vec<String>) -> Result<String, RenderError> {
    fill(template, context).map_err(|error| failed(error, path))
}

fn failed(error: TemplateError, path: Vec<String>) -> RenderError {
    let TemplateError { message, line, column } = error;
    RenderError { path, message: format!("the template fails: {message}"), line, column }
}

fn absolute(context: &Context, template: &str, path: Vec<String>) -> Result<String, RenderError> {
    let text = filled(context, template, path.clone())?;
    if Path::new(&text).is_absolute() {
        return Ok(text);
    }
    let message = format!("`{text}` is not an absolute path; start it with `{{{{ data }}}}/` or `/`");
    Err(RenderError { path, message, line: 0, column: 0 })
}

fn process_setup(
    process: &ProcessDef,
    context: &Context,
    node: NodeContext<'_>,
    (data, log_dir): (&str, &str),
    at: &[String],
) -> Result<ProcessSetup, RenderError> {
    let below = |parts: &[&str]| [at, &path(parts)].concat();
    let mut argv = Vec::new();
    for (index, argument) in process.command.iter().enumerate() {
        let index = index.to_string();
        match argument {
            Argument::One(template) => push(&mut argv, context, template, below(&["command", &index]))?,
            Argument::Each(repeat) => {
                for (number, item) in node.nodes.iter().enumerate() {
                    if repeat.each == Over::Peers && number == node.index {
                        continue;
                    }
                    let mut context = context.clone();
                    context.insert("item", &node_value(number, item));
                    for (argument, template) in repeat.arguments.iter().enumerate() {
                        let at = below(&["command", &index, "arguments", &argument.to_string()]);
                        push(&mut argv, &context, template, at)?;
                    }
                }
            }
        }
    }
    if argv.is_empty() {
        let message = "nothing is left of the command: every part of it rendered to nothing".to_owned();
        return Err(RenderError { path: below(&["command"]), message, line: 0, column: 0 });
    }
    let mut env = BTreeMap::new();
    for (name, template) in &process.env {
        env.insert(name.clone(), filled(context, template, below(&["env", name]))?);
    }
    let directory = match &process.directory {
        None => data.to_owned(),
        Some(template) => absolute(context, template, below(&["directory"]))?,
    };
    let log = match &process.log {
        None => format!("{log_dir}/{}.log", process.name),
        Some(template) => absolute(context, template, below(&["log"]))?,
    };
    let command = Command { argv, env, directory: Some(directory) };
    Ok(ProcessSetup { name: process.name.clone(), command, log })
}

/// Adds an argument, unless it is a template that renders to nothing: that is how a template leaves one out.
fn push(
    argv: &mut Vec<String>,
    context: &Context,
    template: &str,
    path: Vec<String>,
) -> Result<(), RenderError> {
    let text = filled(context, template, path)?;
    if !text.is_empty() || template.is_empty() {
        argv.push(text);
    }
    Ok(())
}

fn http_setup(
    def: &SystemDef,
    probe: &HttpProbe,
    context: &Context,
    at: &[&str],
) -> Result<HttpSetup, RenderError> {
    let below = |parts: &[&str]| [path(at), path(&["request"]), path(parts)].concat();
    let request = &probe.request;
    let Some(port) = def.ports.get(&request.port) else {
        let message = format!("there is no port `{}` under `ports`", request.port);
        return Err(RenderError { path: below(&["port"]), message, line: 0, column: 0 });
    };
    let mut headers = BTreeMap::new();
    for (name, template) in &request.headers {
        headers.insert(name.clone(), filled(context, template, below(&["headers", name]))?);
    }
    let body = match &request.body {
        None => None,
        Some(template) => Some(filled(context, template, below(&["body"]))?),
    };
    Ok(HttpSetup {
        method: request.method,
        port: port.get(),
        path: filled(context, &request.path, below(&["path"]))?,
        headers,
        body,
        timeout: request.timeout,
        status: probe.status,
        when: probe.when.clone(),
    })
}
