//! The guide's table of the presets is what the presets are.

use mpo::{MpoConfig, TrainerConfig};
use serde_json::Value;

/// Every setting's path and its value in JSON.
fn flat(path: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                flat(&format!("{path}{dot}{name}"), value, into);
            }
        }
        // A list would be a link.
        Value::Array(_) => into.push((path.into(), format!("`{value}`"))),
        value => into.push((path.into(), value.to_string().replace('"', ""))),
    }
}

fn settings(config: &impl serde::Serialize) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    flat("", &serde_json::to_value(config).unwrap(), &mut settings);
    settings
}

#[test]
fn the_guide_has_every_setting_of_every_preset() {
    let [default, paper] = [MpoConfig::default(), MpoConfig::paper()].map(|config| settings(&config));
    let mut table = String::from("| `MpoConfig` | default | paper |\n|---|---|---|\n");
    for (path, value) in &default {
        let other = paper.iter().find(|(other, _)| other == path).map_or("none", |(_, value)| value);
        let other = if other == value { "" } else { other };
        table += &format!("| `{path}` | {value} | {other} |\n").replace("|  |", "| |");
    }
    table += "\n| `TrainerConfig` | default |\n|---|---|\n";
    for (path, value) in settings(&TrainerConfig::default()) {
        table += &format!("| `{path}` | {value} |\n");
    }
    let chapter = std::fs::read_to_string("docs/guide/settings.md").unwrap();
    assert!(chapter.contains(&table), "docs/guide/settings.md should have\n{table}");
}
