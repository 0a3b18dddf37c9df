//! CloudFormation's YAML as JSON: the short forms (`!Ref x`) become the long ones (`{"Ref": "x"}`).

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Value, json};
use std::iter::Peekable;

type Events<'a> = Peekable<Box<dyn Iterator<Item = Event<'a>> + 'a>>;

/// # Errors
///
/// The text is no YAML, or uses what CloudFormation does not take (anchors, aliases, equal keys).
pub fn parse(text: &str) -> Result<Value, String> {
    let events: Result<Vec<(Event, Span)>, _> = Parser::new_from_str(text).collect();
    let events = events.map_err(|e| e.to_string())?;
    let boxed: Box<dyn Iterator<Item = Event>> = Box::new(events.into_iter().map(|(event, _)| event));
    let mut events = boxed.peekable();
    while events.next_if(|e| matches!(e, Event::StreamStart | Event::DocumentStart(_))).is_some() {}
    node(&mut events)
}

fn node(events: &mut Events) -> Result<Value, String> {
    match events.next().ok_or("the document ends too early")? {
        Event::Scalar(text, style, _, tag) => Ok(tagged(tag.as_deref(), scalar(&text, style))),
        Event::SequenceStart(_, tag) => {
            let mut items = Vec::new();
            while events.next_if(|e| matches!(e, Event::SequenceEnd)).is_none() {
                items.push(node(events)?);
            }
            Ok(tagged(tag.as_deref(), Value::Array(items)))
        }
        Event::MappingStart(_, tag) => {
            let mut map = Map::new();
            while events.next_if(|e| matches!(e, Event::MappingEnd)).is_none() {
                let Event::Scalar(key, ..) = events.next().ok_or("the document ends in a mapping")? else {
                    return Err("a key is no scalar".into());
                };
                let value = node(events)?;
                if map.insert(key.to_string(), value).is_some() {
                    return Err(format!("the key {key} is there twice"));
                }
            }
            Ok(tagged(tag.as_deref(), Value::Object(map)))
        }
        other => Err(format!("CloudFormation does not take {other:?}")),
    }
}

/// Only what CloudFormation itself tells from text: numbers and booleans.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return json!(text);
    }
    match text {
        "true" => json!(true),
        "false" => json!(false),
        _ => text
            .parse::<i64>()
            .map(|n| json!(n))
            .or_else(|_| text.parse::<f64>().map(|n| json!(n)))
            .unwrap_or_else(|_| json!(text)),
    }
}

fn tagged(tag: Option<&Tag>, value: Value) -> Value {
    let Some(name) = tag.filter(|t| t.handle == "!").map(|t| t.suffix.as_str()) else { return value };
    let (name, value) = match (name, &value) {
        ("Ref" | "Condition", _) => (name.to_owned(), value),
        ("GetAtt", Value::String(path)) => {
            let (resource, attribute) = path.split_once('.').unwrap_or((path, ""));
            ("Fn::GetAtt".to_owned(), json!([resource, attribute]))
        }
        _ => (format!("Fn::{name}"), value),
    };
    json!({ name: value })
}
