//! Events to JSON Lines, fast: the writer encodes every operation of a run twice, on the path of its scheduler.
//!
//! The output is byte for byte what `serde_json` makes of an [`Event`]; a property test compares them. Only the frequent
//! shapes are written by hand: the rest (floating-point numbers, strings with escapes) goes to `serde_json`.

use serde_json::{Map, Value};

use crate::{Event, Process};

/// Appends the event as one line, with its newline, to `buffer`.
///
/// # Errors
/// Only what `serde_json` may refuse; `buffer` is then as it was.
pub fn encode(event: &Event, buffer: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let start = buffer.len();
    let result = fields(event, buffer);
    if result.is_err() {
        buffer.truncate(start);
    }
    result
}

fn fields(event: &Event, buffer: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    buffer.extend_from_slice(b"{\"index\":");
    integer(event.index, buffer);
    buffer.extend_from_slice(b",\"time\":");
    integer(event.time, buffer);
    buffer.extend_from_slice(b",\"process\":");
    match event.process {
        Process::Client(number) => integer(number, buffer),
        Process::Nemesis => buffer.extend_from_slice(b"\"nemesis\""),
    }
    buffer.extend_from_slice(b",\"type\":\"");
    buffer.extend_from_slice(event.kind.name().as_bytes());
    buffer.extend_from_slice(b"\",\"f\":");
    string(&event.f, buffer)?;
    if let Some(key) = &event.key {
        buffer.extend_from_slice(b",\"key\":");
        value(key, buffer)?;
    }
    buffer.extend_from_slice(b",\"value\":");
    value(&event.value, buffer)?;
    if let Some(node) = &event.node {
        buffer.extend_from_slice(b",\"node\":");
        string(node, buffer)?;
    }
    if let Some(error) = &event.error {
        buffer.extend_from_slice(b",\"error\":");
        value(error, buffer)?;
    }
    for (name, field) in &event.extra {
        buffer.push(b',');
        string(name, buffer)?;
        buffer.push(b':');
        value(field, buffer)?;
    }
    buffer.extend_from_slice(b"}\n");
    Ok(())
}

fn value(value: &Value, buffer: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    match value {
        Value::Null => buffer.extend_from_slice(b"null"),
        Value::Bool(true) => buffer.extend_from_slice(b"true"),
        Value::Bool(false) => buffer.extend_from_slice(b"false"),
        Value::Number(number) => {
            if let Some(unsigned) = number.as_u64() {
                integer(unsigned, buffer);
            } else if let Some(signed) = number.as_i64() {
                buffer.push(b'-');
                integer(signed.unsigned_abs(), buffer);
            } else {
                return serde_json::to_writer(buffer, number);
            }
        }
        Value::String(text) => return string(text, buffer),
        Value::Array(items) => return array(items, buffer),
        Value::Object(fields) => return object(fields, buffer),
    }
    Ok(())
}

fn array(items: &[Value], buffer: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    buffer.push(b'[');
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            buffer.push(b',');
        }
        value(item, buffer)?;
    }
    buffer.push(b']');
    Ok(())
}

fn object(fields: &Map<String, Value>, buffer: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    buffer.push(b'{');
    for (position, (name, field)) in fields.iter().enumerate() {
        if position > 0 {
            buffer.push(b',');
        }
        string(name, buffer)?;
        buffer.push(b':');
        value(field, buffer)?;
    }
    buffer.push(b'}');
    Ok(())
}

fn string(text: &str, buffer: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        return serde_json::to_writer(buffer, text);
    }
    buffer.push(b'"');
    buffer.extend_from_slice(text.as_bytes());
    buffer.push(b'"');
    Ok(())
}

fn integer(mut number: u64, buffer: &mut Vec<u8>) {
    // 20 digits hold the largest u64.
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    buffer.extend_from_slice(&digits[start..]);
}
