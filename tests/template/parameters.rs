//! Parameters: what is given, held against what the template says of them.

use super::resolve::{Template, text};
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeMap;

/// Every parameter's value: the one that is given, else the default.
///
/// # Errors
///
/// A parameter is unknown, missing, or not what it may be.
pub fn read(template: &Template, given: &[(&str, &str)]) -> Result<BTreeMap<String, String>, String> {
    let declared = template.section("Parameters");
    if let Some((name, _)) = given.iter().find(|(name, _)| !declared.contains_key(*name)) {
        return Err(format!("there is no parameter {name}"));
    }
    let mut values = BTreeMap::new();
    for (name, declaration) in declared {
        let given = given.iter().find(|(n, _)| n == name).map(|(_, v)| (*v).to_owned());
        let value = match (given, declaration.get("Default")) {
            (Some(given), _) => given,
            (None, Some(default)) => text(default)?,
            (None, None) => return Err(format!("the parameter {name} is missing")),
        };
        check(declaration, &value).map_err(|e| format!("the parameter {name} is {value:?}: {e}"))?;
        values.insert(name.clone(), value);
    }
    Ok(values)
}

fn check(declaration: &Value, value: &str) -> Result<(), String> {
    if let Some(allowed) = declaration["AllowedValues"].as_array() {
        let allowed: Vec<String> = allowed.iter().filter_map(|v| text(v).ok()).collect();
        if !allowed.iter().any(|a| a == value) {
            return Err(format!("not one of {allowed:?}"));
        }
    }
    if let Some(pattern) = declaration["AllowedPattern"].as_str() {
        // CloudFormation wants the whole value to match.
        let pattern = Regex::new(&format!("^(?:{pattern})$")).map_err(|e| e.to_string())?;
        if !pattern.is_match(value) {
            return Err(format!("does not match {pattern}"));
        }
    }
    if declaration["Type"] == "Number" {
        let number: f64 = value.parse().map_err(|_| "no number".to_owned())?;
        let bound = |name: &str| declaration[name].as_f64();
        if bound("MinValue").is_some_and(|m| number < m) || bound("MaxValue").is_some_and(|m| number > m) {
            return Err("out of bounds".into());
        }
    }
    Ok(())
}
