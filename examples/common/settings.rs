//! Single settings of a preset on the command line, for ablations.

use std::str::FromStr;

use mpo::MpoConfig;
use serde_json::Value;

/// One setting and its value in JSON, as `m_step.epsilon_mean=0.01`.
#[derive(Clone)]
pub struct Setting {
    path: String,
    value: Value,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) =
            text.split_once('=').ok_or("accepted: PATH=VALUE, as m_step.epsilon_mean=0.01")?;
        // What is no number, list or object is a name.
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        Ok(Self { path: path.into(), value })
    }
}

/// The settings with some of them replaced.
pub fn with(config: MpoConfig, settings: &[Setting]) -> Result<MpoConfig, Box<dyn std::error::Error>> {
    let mut values = serde_json::to_value(config)?;
    for Setting { path, value } in settings {
        let place = values.pointer_mut(&format!("/{}", path.replace('.', "/")));
        *place.ok_or_else(|| format!("--set: there is no setting {path}"))? = value.clone();
    }
    serde_json::from_value(values).map_err(|error| format!("--set: {error}").into())
}
