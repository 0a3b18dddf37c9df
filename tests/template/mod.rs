//! The template as a machine reads it: parsed, resolved for many sets of parameters, and asked what no
//! linter knows. Used by the checks, by the IAM runs and by the scaling simulator.
#![allow(dead_code)] // each test program uses its own part

pub mod checks;
pub mod math;
pub mod parameters;
pub mod resolve;
pub mod sets;
pub mod world;
pub mod yaml;

pub use resolve::{Stack, Template, text};

use serde_json::Value;
use std::sync::LazyLock;

/// The template to look at: the project's, or the one that `LONGSHORE_TEST_TEMPLATE` names.
pub fn source() -> String {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/cloudformation/longshore.yaml");
    let path = std::env::var("LONGSHORE_TEST_TEMPLATE").unwrap_or_else(|_| own.to_owned());
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {path}: {e}"))
}

pub fn template() -> Template {
    Template::parse(&source()).unwrap_or_else(|e| panic!("{e}"))
}

/// The template under every set of parameters.
pub fn stacks() -> &'static [Stack] {
    static STACKS: LazyLock<Vec<Stack>> = LazyLock::new(|| {
        let template = template();
        let resolve = |(set, place, given): sets::Set| {
            Stack::resolve(&template, set, place, given).unwrap_or_else(|e| panic!("with {set}: {e}"))
        };
        sets::all().into_iter().map(resolve).collect()
    });
    &STACKS
}

pub fn stack(set: &str) -> &'static Stack {
    stacks().iter().find(|s| s.set == set).unwrap_or_else(|| panic!("there is no set {set}"))
}

impl Stack {
    /// A resource's properties; Null if it is not made.
    pub fn properties(&self, name: &str) -> &Value {
        self.resources.get(name).map_or(&Value::Null, |r| &r["Properties"])
    }

    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let of_kind = self.resources.iter().filter(move |(_, r)| r["Type"] == kind);
        of_kind.map(|(name, r)| (name.as_str(), &r["Properties"]))
    }

    pub fn has(&self, name: &str) -> bool {
        self.resources.contains_key(name)
    }

    /// What `Ref` or `GetAtt` gives of a resource that is made.
    pub fn value(&self, name: &str, attribute: &str) -> String {
        let resource = &self.resources[name];
        let given = ["BucketName", "QueueName"].iter().find_map(|p| resource["Properties"][*p].as_str());
        let called = given.map_or_else(|| format!("{}-{name}", world::STACK), str::to_owned);
        let kind = resource["Type"].as_str().unwrap_or_default();
        let value = self.place.attribute(kind, attribute, &called);
        value.unwrap_or_else(|| panic!("{name} has no attribute {attribute}"))
    }

    pub fn container(&self) -> &Value {
        &self.properties("TaskDefinition")["ContainerDefinitions"][0]
    }

    pub fn environment(&self) -> Vec<(String, String)> {
        let pair = |v: &Value| Some((v["Name"].as_str()?.to_owned(), text(&v["Value"]).ok()?));
        list(&self.container()["Environment"]).iter().filter_map(pair).collect()
    }

    pub fn input_bucket(&self) -> String {
        match self.parameters["InputBucketName"].as_str() {
            "" => self.value("InputBucket", ""),
            given => given.to_owned(),
        }
    }

    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }
}

/// The items of a list; one item counts as a list of one, as in policies.
pub fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
}

pub fn texts(value: &Value) -> Vec<String> {
    list(value).iter().filter_map(|v| text(v).ok()).collect()
}

/// Every text in a value, with the path to it.
pub fn walk(value: &Value, path: &str, visit: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => visit(path, text),
        Value::Array(items) => items.iter().for_each(|v| walk(v, path, visit)),
        Value::Object(map) => map.iter().for_each(|(k, v)| walk(v, &format!("{path}.{k}"), visit)),
        _ => {}
    }
}
