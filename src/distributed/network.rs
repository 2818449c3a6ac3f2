//! How messages get from one process to another: [`Network`], who listens where and lets in whom, and the
//! [`Connection`] that it is opened as. These two are all that know the engine, which is
//! [zenoh](https://zenoh.io).

mod connection;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use zenoh::{Config, Session, Wait};

use super::check_name;
use crate::checks::check;
use crate::error::{Error, Result};
pub(crate) use connection::{Answer, Connection, Service, Token, Watch};

/// How a learner and its collectors reach each other.
///
/// ```
/// use mpo::Network;
///
/// # fn main() -> mpo::Result<()> {
/// // In one process, without a socket:
/// let here = Network::local();
/// // On one machine:
/// let learner = Network::listen("tcp/127.0.0.1:7447")?;
/// let collector = Network::connect("tcp/127.0.0.1:7447")?;
/// // Between machines, each with a certificate of one's own authority:
/// let learner = Network::listen("tls/0.0.0.0:7447")?.identity("ca.pem", "learner.pem", "learner.key");
/// let collector = Network::connect("tls/learner.lab:7447")?.identity("ca.pem", "robot.pem", "robot.key");
/// # Ok(())
/// # }
/// ```
///
/// The learner alone listens; collectors go on trying to reach it. Nothing is looked for or announced on the
/// network, and the learner takes questions for its own run and signs of life, from whoever is let in, and
/// nothing else. Beyond the machine it listens only with [certificates](Self::identity) or
/// [passwords](Self::passwords).
///
/// Nothing is opened before it is used.
#[derive(Clone)]
pub struct Network {
    place: Place,
    fleet: String,
    identity: Option<Identity>,
    user: Option<(String, String)>,
    passwords: Option<PathBuf>,
    only: Vec<String>,
    longest: usize,
    /// Of a network in one process: opened once for all.
    here: Arc<Mutex<Option<Session>>>,
}

#[derive(Debug, Clone)]
enum Place {
    Here,
    Listen(String),
    Connect(String),
    File(PathBuf),
}

#[derive(Debug, Clone)]
struct Identity {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

const ACCEPTED: &str = "tcp/HOST:PORT, tls/HOST:PORT or unixsock-stream/PATH";

impl Network {
    fn at(place: Place) -> Self {
        Self {
            place,
            fleet: "run".into(),
            identity: None,
            user: None,
            passwords: None,
            only: Vec::new(),
            longest: 16 << 20,
            here: Arc::default(),
        }
    }

    /// Within this process: for all clones of it, and nobody else. No socket is opened.
    pub fn local() -> Self {
        Self::at(Place::Here)
    }

    /// For the learner, which listens at this endpoint: `tcp/127.0.0.1:7447`, `tls/0.0.0.0:7447`,
    /// `unixsock-stream/PATH`.
    ///
    /// # Errors
    /// If it is no such endpoint.
    pub fn listen(endpoint: &str) -> Result<Self> {
        check("Network::listen", endpoint, |endpoint| is_endpoint(endpoint), ACCEPTED)?;
        Ok(Self::at(Place::Listen(endpoint.into())))
    }

    /// For a collector, whose learner listens at this endpoint, now or later.
    ///
    /// # Errors
    /// If it is no such endpoint.
    pub fn connect(endpoint: &str) -> Result<Self> {
        check("Network::connect", endpoint, |endpoint| is_endpoint(endpoint), ACCEPTED)?;
        Ok(Self::at(Place::Connect(endpoint.into())))
    }

    /// As a configuration of zenoh's own says, JSON5 in a file, as for a router between learner and
    /// collectors. Nothing of it is checked or added: who may do what is for that file to say.
    pub fn configured_by(path: impl Into<PathBuf>) -> Self {
        Self::at(Place::File(path.into()))
    }

    /// The name of the run, if several use one network; `run` otherwise.
    ///
    /// # Errors
    /// If it is not 1 to 64 letters, digits, `-`, `_` and `.`.
    pub fn fleet(mut self, name: &str) -> Result<Self> {
        check_name("Network::fleet", name)?;
        self.fleet = name.into();
        Ok(self)
    }

    /// Certificates, as files in PEM: that of the authority which has signed all of them, one's own, and its
    /// private key. For endpoints `tls/...`: whoever has none of that authority is not let in, on either
    /// side, and nobody else reads what is said.
    pub fn identity(
        mut self,
        authority: impl Into<PathBuf>,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        let (authority, certificate, key) = (authority.into(), certificate.into(), key.into());
        self.identity = Some(Identity { authority, certificate, key });
        self
    }

    /// For a collector: the user and the password that the learner knows it by. Without `tls` others on the
    /// network can read what is said.
    pub fn password(mut self, user: &str, password: &str) -> Self {
        self.user = Some((user.into(), password.into()));
        self
    }

    /// For the learner: a file with a line `USER:PASSWORD` for each who is let in.
    pub fn passwords(mut self, file: impl Into<PathBuf>) -> Self {
        self.passwords = Some(file.into());
        self
    }

    /// For the learner: lets in no other collectors than those of these names. With
    /// [certificates](Self::identity) each has to have its name as the common name of its certificate, so
    /// that none can pass as another.
    ///
    /// # Errors
    /// If one is not 1 to 64 letters, digits, `-`, `_` and `.`.
    pub fn only<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Result<Self> {
        self.only = names.into_iter().map(Into::into).collect();
        for name in &self.only {
            check_name("Network::only", name)?;
        }
        Ok(self)
    }

    /// The longest message in bytes, in place of 16 MiB: a policy's file has to fit. Longer ones are dropped
    /// where they arrive.
    ///
    /// # Errors
    /// If it is not 64 KiB to 1 GiB.
    pub fn longest_message(mut self, bytes: usize) -> Result<Self> {
        let accepted = |bytes: &usize| (1 << 16..=1 << 30).contains(bytes);
        check("Network::longest_message", bytes, accepted, "65536 to 1073741824")?;
        self.longest = bytes;
        Ok(self)
    }

    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Its endpoint, in words.
    pub(crate) fn place(&self) -> String {
        match &self.place {
            Place::Here => "this process".into(),
            Place::Listen(endpoint) | Place::Connect(endpoint) => endpoint.clone(),
            Place::File(path) => path.display().to_string(),
        }
    }

    /// Opens it.
    pub(crate) fn open(&self) -> Result<Connection> {
        let place = self.place();
        let failed = |reason: String| Error::Network { place: place.clone(), reason };
        let session = match &self.place {
            Place::Here => {
                let mut here = self.here.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                match &*here {
                    Some(session) => session.clone(),
                    None => here.insert(open(self.config(&failed)?).map_err(failed)?).clone(),
                }
            }
            _ => open(self.config(&failed)?).map_err(failed)?,
        };
        let shared = matches!(self.place, Place::Here);
        Ok(Connection { session, fleet: self.fleet.clone(), place, shared })
    }

    fn config(&self, failed: &impl Fn(String) -> Error) -> Result<Config> {
        let mut config = match &self.place {
            Place::File(path) => {
                return Config::from_file(path).map_err(|error| failed(error.to_string()));
            }
            _ => Config::default(),
        };
        for (key, value) in self.settings(failed)? {
            config.insert_json5(key, &value.to_string()).map_err(|error| failed(error.to_string()))?;
        }
        Ok(config)
    }

    /// All in which the engine is to differ from its own defaults, which are open to everybody.
    fn settings(&self, failed: &impl Fn(String) -> Error) -> Result<Vec<(&'static str, Value)>> {
        let (listens, connects) = match &self.place {
            Place::Listen(endpoint) => (vec![endpoint], vec![]),
            Place::Connect(endpoint) => (vec![], vec![endpoint]),
            Place::Here | Place::File(_) => (vec![], vec![]),
        };
        for endpoint in &listens {
            self.check_exposure(endpoint, failed)?;
        }
        for endpoint in listens.iter().chain(&connects) {
            if endpoint.starts_with("tls/") && self.identity.is_none() {
                return Err(failed("an endpoint tls/... takes Network::identity".into()));
            }
        }
        let mut settings = vec![
            ("mode", json!("peer")),
            ("scouting/multicast/enabled", json!(false)),
            ("scouting/gossip/enabled", json!(false)),
            ("listen/endpoints", json!(listens)),
            ("connect/endpoints", json!(connects)),
            // Collectors are started before their learner, and outlive it.
            ("connect/timeout_ms", json!(-1)),
            ("connect/exit_on_failure", json!(false)),
            (
                "connect/retry",
                json!({ "period_init_ms": 200, "period_max_ms": 2000, "period_increase_factor": 2 }),
            ),
            ("transport/link/rx/max_message_size", json!(self.longest)),
            ("transport/shared_memory/enabled", json!(false)),
        ];
        if let Some(Identity { authority, certificate, key }) = &self.identity {
            let path = |path: &Path| json!(path.to_string_lossy());
            settings.push((
                "transport/link/tls",
                json!({
                    "root_ca_certificate": path(authority),
                    "enable_mtls": true,
                    "listen_certificate": path(certificate),
                    "listen_private_key": path(key),
                    "connect_certificate": path(certificate),
                    "connect_private_key": path(key),
                    "verify_name_on_connect": true,
                    "close_link_on_expiration": true,
                }),
            ));
        }
        if let Some((user, password)) = &self.user {
            settings.push(("transport/auth/usrpwd/user", json!(user)));
            settings.push(("transport/auth/usrpwd/password", json!(password)));
        }
        if let Some(file) = &self.passwords {
            settings.push(("transport/auth/usrpwd/dictionary_file", json!(file.to_string_lossy())));
        }
        if !listens.is_empty() {
            settings.push(("access_control", self.access()));
        }
        Ok(settings)
    }

    /// What is listened to beyond the machine has to ask who is there.
    fn check_exposure(&self, endpoint: &str, failed: &impl Fn(String) -> Error) -> Result<()> {
        let Some(address) = endpoint.strip_prefix("tcp/") else { return Ok(()) };
        if is_loopback(address) || self.passwords.is_some() {
            return Ok(());
        }
        Err(failed(
            "anybody on the network could come in there: listen at tls/... with certificates \
             (Network::identity), or at least with passwords (Network::passwords), or at 127.0.0.1"
                .into(),
        ))
    }

    /// Who may say what to the one who listens: what is not named is denied.
    fn access(&self) -> Value {
        let with_certificates = self.identity.is_some();
        let names: Vec<Option<&str>> = match self.only.as_slice() {
            [] => vec![None],
            only => only.iter().map(|name| Some(name.as_str())).collect(),
        };
        let (mut rules, mut subjects, mut policies) = (Vec::new(), Vec::new(), Vec::new());
        for (number, name) in names.into_iter().enumerate() {
            let of = name.unwrap_or("*");
            let key = |what: &str| format!("mpo/{}/{what}/{of}", self.fleet);
            let asked: Vec<String> = ASKED.iter().map(|what| key(what)).collect();
            let (ask, live, answer) =
                (format!("ask-{number}"), format!("live-{number}"), format!("answer-{number}"));
            let allow = |id: &str, messages: Value, flow: &str, keys: Value| {
                json!({
                    "id": id, "permission": "allow", "messages": messages, "flows": [flow], "key_exprs": keys,
                })
            };
            rules.push(allow(&ask, json!(["query"]), "ingress", json!(asked)));
            rules.push(allow(&live, json!(["liveliness_token"]), "ingress", json!([key(ALIVE)])));
            let declared: Vec<String> = asked
                .iter()
                .cloned()
                .chain(ASKED.iter().map(|what| format!("mpo/{}/{what}/*", self.fleet)))
                .collect();
            rules.push(allow(&answer, json!(["reply", "declare_queryable"]), "egress", json!(declared)));
            let subject = format!("collector-{number}");
            subjects.push(match name {
                Some(name) if with_certificates => json!({ "id": subject, "cert_common_names": [name] }),
                _ => json!({ "id": subject }),
            });
            policies.push(json!({ "rules": [ask, live, answer], "subjects": [subject] }));
        }
        json!({
            "enabled": true,
            "default_permission": "deny",
            "rules": rules,
            "subjects": subjects,
            "policies": policies,
        })
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the password.
        let Self { place, fleet, identity, only, .. } = self;
        f.debug_struct("Network")
            .field("place", place)
            .field("fleet", fleet)
            .field("identity", identity)
            .field("only", only)
            .finish_non_exhaustive()
    }
}

/// What can be asked for.
pub(crate) const POLICY: &str = "policy";
pub(crate) const EXPERIENCE: &str = "experience";
pub(crate) const PARAMETERS: &str = "parameters";
pub(crate) const CONTRIBUTION: &str = "contribution";
const ASKED: [&str; 4] = [POLICY, EXPERIENCE, PARAMETERS, CONTRIBUTION];
/// The key of the tokens by which collectors say that they are there.
const ALIVE: &str = "alive";

fn is_endpoint(endpoint: &str) -> bool {
    // What zenoh's own endpoints may have behind these would be more than an address.
    let plain = !endpoint.contains(['?', '#', ';']);
    let host = |rest: &str| {
        rest.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    plain
        && match endpoint.split_once('/') {
            Some(("tcp" | "tls", rest)) => host(rest),
            Some(("unixsock-stream", path)) => !path.is_empty(),
            _ => false,
        }
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn open(config: Config) -> Result<Session, String> {
    zenoh::open(config).wait().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_an_address_and_no_more() {
        for endpoint in ["tcp/127.0.0.1:7447", "tls/[::1]:1", "tcp/robot.lab:80", "unixsock-stream//tmp/a"] {
            assert!(Network::listen(endpoint).is_ok(), "{endpoint}");
        }
        let refused =
            ["", "tcp", "udp/127.0.0.1:1", "tcp/127.0.0.1", "tcp/:80", "tcp/a:70000", "unixsock-stream/"];
        for endpoint in refused.into_iter().chain(["tcp/127.0.0.1:1#iface=eth0", "tls/a:1?x"]) {
            let error = Network::connect(endpoint).unwrap_err().to_string();
            assert!(error.contains("tcp/HOST:PORT"), "{error}");
        }
    }

    /// Beyond the machine somebody is asked for, or nothing is opened.
    #[test]
    fn nobody_listens_to_everybody() {
        for endpoint in ["tcp/0.0.0.0:0", "tcp/192.168.1.2:0", "tcp/[::]:0", "tcp/example.com:0"] {
            let error = Network::listen(endpoint).unwrap().open().err().unwrap().to_string();
            assert!(error.contains(endpoint) && error.contains("Network::passwords"), "{error}");
        }
        let error = Network::listen("tls/127.0.0.1:0").unwrap().open().err().unwrap().to_string();
        assert!(error.contains("Network::identity"), "{error}");
        assert!(is_loopback("127.0.0.1:1") && is_loopback("[::1]:1") && is_loopback("localhost:1"));
        assert!(!is_loopback("127.0.0.1.example.com:1") && !is_loopback("[::]:1"));
    }
}
