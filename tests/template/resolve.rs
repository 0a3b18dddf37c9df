//! Resolves the template for one set of parameters, as CloudFormation would, as far as that can be
//! known without an account.

use super::world::{Place, STACK};
use super::yaml;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// A template in the long form, with its loops unrolled.
#[derive(Debug)]
pub struct Template {
    pub json: Value,
    pub bytes: usize,
}

/// What a set of parameters makes of a template.
#[derive(Debug)]
pub struct Stack {
    pub set: &'static str,
    pub place: Place,
    pub parameters: BTreeMap<String, String>,
    /// By logical name; only those whose condition holds.
    pub resources: BTreeMap<String, Value>,
    pub outputs: BTreeMap<String, Value>,
    /// Which resource waits for which.
    pub edges: BTreeMap<String, BTreeSet<String>>,
}

const NO_VALUE: &str = "\u{0}NoValue";

impl Template {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut json = yaml::parse(text)?;
        let names = ["Parameters", "Resources"].iter().filter_map(|s| json[s].as_object());
        let taken: BTreeSet<String> = names.flat_map(|map| map.keys().cloned()).collect();
        for section in ["Conditions", "Resources", "Outputs"] {
            if let Some(Value::Object(map)) = json.get_mut(section) {
                *map = unroll(std::mem::take(map), &taken)?;
            }
        }
        Ok(Self { json, bytes: text.len() })
    }

    pub fn section(&self, name: &str) -> &Map<String, Value> {
        static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        self.json[name].as_object().unwrap_or(&EMPTY)
    }
}

/// `Fn::ForEach::Name: [Variable, [values], {template}]`, of AWS::LanguageExtensions, which refuses loops and
/// variables with the name of a parameter or resource.
fn unroll(map: Map<String, Value>, taken: &BTreeSet<String>) -> Result<Map<String, Value>, String> {
    let mut unrolled = Map::new();
    for (key, value) in map {
        if !key.starts_with("Fn::ForEach::") {
            unrolled.insert(key, value);
            continue;
        }
        let (Some(variable), Some(values), Some(body)) =
            (value[0].as_str(), value[1].as_array(), value[2].as_object())
        else {
            return Err(format!("{key} is not [variable, [values], {{body}}]"));
        };
        if let Some(taken) =
            [&key["Fn::ForEach::".len()..], variable].into_iter().find(|n| taken.contains(*n))
        {
            return Err(format!("{key}: a loop must not have the name of a parameter or resource: {taken}"));
        }
        for item in values.iter().filter_map(Value::as_str) {
            for (name, part) in body {
                // In names, `&{x}` leaves out what a logical name must not have.
                let letters: String = item.chars().filter(char::is_ascii_alphanumeric).collect();
                let name = name.replace(&format!("${{{variable}}}"), item);
                let name = name.replace(&format!("&{{{variable}}}"), &letters);
                unrolled.insert(name, put(part, variable, item));
            }
        }
    }
    Ok(unrolled)
}

fn put(value: &Value, variable: &str, item: &str) -> Value {
    match value {
        Value::String(text) => json!(text.replace(&format!("${{{variable}}}"), item)),
        Value::Array(items) => items.iter().map(|v| put(v, variable, item)).collect(),
        Value::Object(map) if map.get("Ref").is_some_and(|r| r == variable) => json!(item),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), put(v, variable, item))).collect(),
        other => other.clone(),
    }
}

struct Resolver<'a> {
    template: &'a Template,
    place: &'a Place,
    parameters: &'a BTreeMap<String, String>,
    /// What the resource at hand has referred to so far.
    seen: RefCell<BTreeSet<String>>,
}

type Resolved = Result<Value, String>;

impl Stack {
    /// # Errors
    ///
    /// What CloudFormation would refuse: a broken rule, a reference to nothing, a circle …
    pub fn resolve(
        template: &Template,
        set: &'static str,
        place: Place,
        given: &[(&str, &str)],
    ) -> Result<Self, String> {
        let parameters = super::parameters::read(template, given)?;
        let resolver =
            Resolver { template, place: &place, parameters: &parameters, seen: RefCell::default() };
        resolver.check_rules()?;
        let mut resources = BTreeMap::new();
        let mut edges = BTreeMap::new();
        for (name, resource) in template.section("Resources") {
            let within = |e| format!("{name}: {e}");
            if !resolver.is_made(resource).map_err(within)? {
                continue;
            }
            resolver.seen.take();
            let resolved = resolver.value(resource).map_err(within)?;
            let mut after = resolver.seen.take();
            after.extend(depends_on(resource));
            resources.insert(name.clone(), resolved);
            edges.insert(name.clone(), after);
        }
        let mut outputs = BTreeMap::new();
        for (name, output) in template.section("Outputs") {
            let value = resolver.value(&output["Value"]).map_err(|e| format!("output {name}: {e}"))?;
            outputs.insert(name.clone(), value);
        }
        let stack =
            Self { set, place: place.clone(), parameters: parameters.clone(), resources, outputs, edges };
        stack.check_order()?;
        Ok(stack)
    }

    /// No resource waits for itself, nor for one that is not made.
    fn check_order(&self) -> Result<(), String> {
        let mut left = self.edges.clone();
        for (name, after) in &left {
            if let Some(absent) = after.iter().find(|a| !self.resources.contains_key(*a)) {
                return Err(format!("{name} refers to {absent}, which is not made"));
            }
        }
        while !left.is_empty() {
            let ready: Vec<String> =
                left.iter().filter(|(_, after)| after.is_empty()).map(|(n, _)| n.clone()).collect();
            if ready.is_empty() {
                return Err(format!("a circle among {:?}", left.keys().collect::<Vec<_>>()));
            }
            for name in ready {
                left.remove(&name);
                for after in left.values_mut() {
                    after.remove(&name);
                }
            }
        }
        Ok(())
    }
}

fn depends_on(resource: &Value) -> Vec<String> {
    let text = |v: &Value| v.as_str().map(str::to_owned);
    match &resource["DependsOn"] {
        Value::Array(names) => names.iter().filter_map(text).collect(),
        one => text(one).into_iter().collect(),
    }
}

impl Resolver<'_> {
    fn is_made(&self, resource: &Value) -> Result<bool, String> {
        resource.get("Condition").and_then(Value::as_str).map_or(Ok(true), |c| self.condition(c))
    }

    fn condition(&self, name: &str) -> Result<bool, String> {
        let condition = self.template.section("Conditions").get(name);
        truth(&self.value(condition.ok_or_else(|| format!("there is no condition {name}"))?)?)
    }

    fn check_rules(&self) -> Result<(), String> {
        for (name, rule) in self.template.section("Rules") {
            if rule.get("RuleCondition").is_none_or(|c| self.value(c).and_then(|v| truth(&v)) == Ok(true)) {
                for assertion in rule["Assertions"].as_array().into_iter().flatten() {
                    if !truth(&self.value(&assertion["Assert"])?)? {
                        return Err(format!("rule {name}: {}", assertion["AssertDescription"]));
                    }
                }
            }
        }
        Ok(())
    }

    fn value(&self, value: &Value) -> Resolved {
        match value {
            Value::Array(items) => {
                let items: Result<Vec<Value>, String> = items.iter().map(|v| self.value(v)).collect();
                Ok(items?.into_iter().filter(|v| v != NO_VALUE).collect())
            }
            Value::Object(map) => {
                if map.len() == 1
                    && let Some((name, argument)) = map.iter().next()
                    && let Some(resolved) = self.function(name, argument)
                {
                    return resolved;
                }
                let mut resolved = Map::new();
                for (key, value) in map {
                    let value = self.value(value)?;
                    if value != NO_VALUE {
                        resolved.insert(key.clone(), value);
                    }
                }
                Ok(Value::Object(resolved))
            }
            other => Ok(other.clone()),
        }
    }

    /// None: it is no function but a property of that name.
    fn function(&self, name: &str, argument: &Value) -> Option<Resolved> {
        Some(match name {
            "Ref" => self.reference(argument.as_str().unwrap_or_default()),
            "Condition" if argument.is_string() => {
                self.condition(argument.as_str().unwrap_or_default()).map(Value::Bool)
            }
            "Fn::GetAtt" => self.get_att(argument),
            "Fn::If" => self.choose(argument),
            "Fn::Sub" => self.substitute(argument),
            "Fn::And" | "Fn::Or" | "Fn::Not" | "Fn::Equals" | "Fn::Contains" => self.logic(name, argument),
            "Fn::Join" | "Fn::Split" | "Fn::Select" | "Fn::Base64" | "Fn::GetAZs" => {
                self.value(argument).and_then(|a| self.text_function(name, &a))
            }
            _ if name.starts_with("Fn::") => Err(format!("{name} is not known here")),
            _ => return None,
        })
    }

    fn choose(&self, argument: &Value) -> Resolved {
        match argument.as_array().map(Vec::as_slice) {
            Some([Value::String(condition), yes, no]) => {
                self.value(if self.condition(condition)? { yes } else { no })
            }
            _ => Err(format!("Fn::If with {argument}")),
        }
    }

    fn logic(&self, name: &str, argument: &Value) -> Resolved {
        let parts = self.value(argument)?;
        let parts = parts.as_array().ok_or_else(|| format!("{name} wants a list"))?;
        let truths = || parts.iter().map(truth).collect::<Result<Vec<bool>, String>>();
        Ok(Value::Bool(match (name, parts.as_slice()) {
            ("Fn::Equals", [a, b]) => text(a)? == text(b)?,
            ("Fn::Not", [_]) => !truths()?[0],
            ("Fn::And", [_, _, ..]) => truths()?.into_iter().all(|t| t),
            ("Fn::Or", [_, _, ..]) => truths()?.into_iter().any(|t| t),
            ("Fn::Contains", [Value::Array(list), one]) => list.contains(one),
            _ => return Err(format!("{name} with {} parts", parts.len())),
        }))
    }

    fn text_function(&self, name: &str, argument: &Value) -> Resolved {
        match (name, argument.as_array().map_or(&[][..], Vec::as_slice)) {
            ("Fn::Join", [Value::String(with), Value::Array(parts)]) => {
                let parts: Result<Vec<String>, String> = parts.iter().map(text).collect();
                Ok(json!(parts?.join(with)))
            }
            ("Fn::Split", [Value::String(at), whole]) => {
                Ok(text(whole)?.split(at.as_str()).map(|p| json!(p)).collect())
            }
            ("Fn::Select", [index, Value::Array(list)]) => {
                let index: usize = text(index)?.parse().map_err(|_| format!("Fn::Select of {index}"))?;
                list.get(index).cloned().ok_or_else(|| format!("Fn::Select of {index} in {}", list.len()))
            }
            ("Fn::Base64", _) => Ok(argument.clone()),
            ("Fn::GetAZs", _) => Ok(["a", "b", "c"].map(|z| format!("{}{z}", self.place.region)).into()),
            _ => Err(format!("{name} with {argument}")),
        }
    }

    fn reference(&self, name: &str) -> Resolved {
        if name == "AWS::NoValue" {
            return Ok(json!(NO_VALUE));
        }
        let known = self.place.pseudo(name).or_else(|| self.parameters.get(name).cloned());
        known.map_or_else(|| self.attribute(name, ""), |v| Ok(json!(v)))
    }

    fn get_att(&self, argument: &Value) -> Resolved {
        match (argument[0].as_str(), argument[1].as_str()) {
            (Some(resource), Some(attribute)) => self.attribute(resource, attribute),
            _ => Err(format!("Fn::GetAtt with {argument}")),
        }
    }

    fn attribute(&self, name: &str, attribute: &str) -> Resolved {
        let resource = self.template.section("Resources").get(name);
        let resource = resource.ok_or_else(|| format!("there is no {name} to refer to"))?;
        self.seen.borrow_mut().insert(name.to_owned());
        let kind = resource["Type"].as_str().unwrap_or_default();
        // What is named in the template goes by that name; the rest by one that CloudFormation makes.
        let given = ["BucketName", "QueueName"].iter().find_map(|p| resource["Properties"].get(*p));
        let called = match given {
            Some(given) => {
                let outer = self.seen.take();
                let called = text(&self.value(given)?)?;
                self.seen.replace(outer);
                called
            }
            None => format!("{STACK}-{name}"),
        };
        let value = self.place.attribute(kind, attribute, &called);
        value.map(|v| json!(v)).ok_or_else(|| format!("{name} ({kind}) has no attribute {attribute}"))
    }

    fn substitute(&self, argument: &Value) -> Resolved {
        let (pattern, own) = match argument {
            Value::String(pattern) => (pattern.as_str(), Value::Null),
            Value::Array(parts) if parts.len() == 2 => {
                (parts[0].as_str().unwrap_or_default(), self.value(&parts[1])?)
            }
            _ => return Err(format!("Fn::Sub with {argument}")),
        };
        let mut whole = String::new();
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or("Fn::Sub without a closing brace")?;
            whole.push_str(before);
            whole.push_str(&match (own.get(name), name.split_once('.')) {
                (Some(own), _) => text(own)?,
                (None, Some((resource, attribute))) => text(&self.attribute(resource, attribute)?)?,
                (None, None) => text(&self.reference(name)?)?,
            });
            rest = after;
        }
        Ok(json!(whole + rest))
    }
}

fn truth(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("{value} is neither true nor false"))
}

/// CloudFormation's scalars are text.
pub fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        other => Err(format!("{other} is no text")),
    }
}
