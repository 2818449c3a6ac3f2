//! Files of a checkpoint that were written wrongly, rather than damaged: their checksums fit.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use mpo::{
    ActionSpace, Environment, Error, MpoAgent, MpoConfig, NoiseColour, Policy, ReplayBuffer, Result, Rng,
    Step, Stream, Trainer, TrainerConfig,
};
use tempfile::TempDir;

/// What stands in the place of a number in a header.
pub const NUMBERS: [&str; 18] = [
    "0",
    "1",
    "2",
    "3",
    "-1",
    "0.0",
    "1e-320",
    "1e308",
    "-1e308",
    "null",
    "18446744073709551615",
    "9223372036854775807",
    "4294967295",
    "9007199254740991",
    "[]",
    "{}",
    "true",
    "\"Exact\"",
];

/// What a replay tells and samples.
pub fn samples(replay: &ReplayBuffer) -> Vec<Vec<f32>> {
    let device = Device::flex();
    let mut rng = Rng::stream(1, Stream::Replay);
    let mut told = vec![vec![
        replay.len() as f32,
        replay.mean_return().unwrap_or(-1.0) as f32,
        replay.mean_reward().unwrap_or(-1.0) as f32,
    ]];
    let transitions = replay.sample_transitions(20, 3, 0.9, &mut rng, &device);
    let sequences = replay.sample_sequences(10, 2, 0.9, &mut rng, &device);
    for batch in [transitions, sequences].into_iter().flatten() {
        let tensors =
            [batch.observations, batch.actions, batch.next_observations, batch.improved.observations];
        told.extend(tensors.map(|tensor| tensor.into_data().iter().collect()));
        let tensors = [batch.rewards, batch.discounts, batch.log_probabilities, batch.continued];
        told.extend(tensors.map(|tensor| tensor.into_data().iter().collect()));
    }
    told
}

/// How a file is changed: the file, bytes put in a place of its header or anywhere, numbers of its header,
/// its length.
#[derive(Debug, Clone)]
pub struct Forgery {
    pub file: usize,
    pub place: usize,
    pub bytes: Vec<u8>,
    pub number: Option<(usize, &'static str)>,
    pub cut: usize,
}

const FILES: [&str; 4] = ["run.mpo", "agent.mpo", "replay.mpo", "policy.mpo"];

/// Episodes of seven steps.
struct Count(u8);

impl Environment for Count {
    type Error = std::convert::Infallible;

    fn observation_size(&self) -> usize {
        1
    }

    fn action_space(&self) -> ActionSpace {
        ActionSpace::symmetric(1)
    }

    fn reset(&mut self, _: u64) -> Result<Vec<f32>, Self::Error> {
        self.0 = 0;
        Ok(vec![0.0])
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, Self::Error> {
        self.0 += 1;
        let observation = vec![f32::from(self.0)];
        Ok(Step { observation, reward: action[0], terminated: false, truncated: self.0 == 7 })
    }

    fn repeatable(&self) -> bool {
        true
    }
}

fn config() -> TrainerConfig {
    TrainerConfig {
        environment_steps: 60,
        replay_capacity: 50,
        warm_up_steps: 20,
        updates_per_step: 0.5,
        evaluation_period: 1_000_000,
        evaluation_episodes: 1,
        tolerated_refused_updates: 1000,
        ..TrainerConfig::default()
    }
}

fn tiny_agent() -> MpoAgent {
    let mut config = MpoConfig::default();
    config.critic.network.hidden = vec![2];
    config.actor.network.hidden = vec![2];
    config.exploration.noise = NoiseColour::Pink;
    (config.batch_size, config.sampled_actions) = (4, 3);
    MpoAgent::new(config, 1, 1, &Device::flex(), 1).unwrap()
}

fn trainer(steps: u64, folder: &Path) -> Trainer<Count> {
    let config = TrainerConfig { environment_steps: steps, ..config() };
    Trainer::new(config, tiny_agent(), Count(0))
        .and_then(|trainer| trainer.evaluate_in(Count(0)))
        .unwrap()
        .save_into(folder)
}

/// A checkpoint with a policy beside it.
fn checkpoint(folder: &Path) -> Vec<Vec<u8>> {
    let mut run = trainer(40, folder);
    run.run().unwrap();
    let checkpoint = folder.join("step-000000000040");
    run.agent().policy().save(checkpoint.join("policy.mpo")).unwrap();
    FILES.iter().map(|name| fs::read(checkpoint.join(name)).unwrap()).collect()
}

/// Whether a file is one of tensors: its checksum stands in its header. That of the others is at their end.
fn holds_tensors(name: &str) -> bool {
    ["agent.mpo", "policy.mpo"].contains(&name)
}

/// The contents with a checksum that fits them, where there is a place for it.
fn sealed(mut contents: Vec<u8>, name: &str) -> Vec<u8> {
    const BEFORE: &[u8] = br#"\"crc32\":\""#;
    if !holds_tensors(name) {
        let checksum = crc32fast::hash(&contents);
        contents.extend(checksum.to_le_bytes());
    } else if let Some(place) = contents.windows(BEFORE.len()).position(|bytes| bytes == BEFORE) {
        let (start, end) = (place + BEFORE.len(), place + BEFORE.len() + 8);
        let others = [&contents[..start], &contents[end..]].concat();
        contents[start..end].copy_from_slice(format!("{:08x}", crc32fast::hash(&others)).as_bytes());
    }
    contents
}

/// Puts the forged file into a checkpoint, and uses what can be loaded.
pub fn try_forgery(forgery: &Forgery) {
    thread_local! {
        static GENUINE: (TempDir, Vec<Vec<u8>>) = {
            let folder = TempDir::new().unwrap();
            let files = checkpoint(folder.path());
            (folder, files)
        };
    }
    GENUINE.with(|(folder, files)| {
        let checkpoint = folder.path().join("step-000000000040");
        let name = FILES[forgery.file];
        let path = checkpoint.join(name);
        fs::write(&path, sealed(forged(&files[forgery.file], name, forgery), name)).unwrap();
        let outcome = use_it(folder.path(), &checkpoint, forgery.file);
        fs::write(&path, &files[forgery.file]).unwrap();
        match outcome {
            Ok(()) => {}
            Err(Error::Damaged { damage, .. }) if damage.contains("checksum") => panic!("{damage}"),
            Err(Error::Damaged { .. } | Error::Format { .. } | Error::NonFinite { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    });
}

/// Loads the file and goes on with what was in it.
fn use_it(folder: &Path, checkpoint: &Path, file: usize) -> Result<()> {
    let device = Device::flex();
    if FILES[file] == "policy.mpo" {
        let policy = Policy::load(checkpoint.join("policy.mpo"), &device)?;
        let size = mpo::Actor::observation_size(policy.actor());
        return policy.mean_action(&vec![0.1; size]).map(|_| ());
    }
    let mut run = trainer(44, folder);
    run.resume()?;
    run.run()?;
    let after = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    after
        .filter(|path| path.is_dir() && path != checkpoint)
        .for_each(|path| fs::remove_dir_all(path).unwrap());
    let mut agent = tiny_agent();
    agent.restore(checkpoint.join("agent.mpo"))?;
    let mut replay = ReplayBuffer::load(checkpoint.join("replay.mpo"))?;
    let _ = samples(&replay);
    for step in 0..60 {
        let _ = replay.begin_episode(&vec![step as f32; replay.observation_size()]);
    }
    let _ = samples(&replay);
    let mut rng = Rng::stream(1, Stream::Replay);
    for _ in 0..3 {
        let batch = agent.sample(run.replay(), &mut rng)?;
        agent.update(&batch)?;
        agent.act(&[0.1])?;
    }
    Ok(())
}

/// A file's contents, changed, without the checksum at their end.
fn forged(genuine: &[u8], name: &str, forgery: &Forgery) -> Vec<u8> {
    // The header's length is the first that a file of tensors says.
    let (start, end) = match holds_tensors(name) {
        true => (0, genuine.len()),
        false => ("mpo ".len() + name.len() - ".mpo".len() + 4, genuine.len() - 4),
    };
    let length = u64::from_le_bytes(genuine[start..start + 8].try_into().unwrap()) as usize;
    let (prefix, rest) = genuine[..end].split_at(start);
    let mut header = String::from_utf8(rest[8..8 + length].to_vec()).unwrap();
    if let Some((which, number)) = forgery.number {
        let places: Vec<(usize, usize)> = numbers(&header);
        let (from, to) = places[which % places.len()];
        // The library's own header is a text within that of the tensors.
        let within = header.find("}\"}").is_some_and(|end| from < end);
        let number = if within { number.replace('"', "\\\"") } else { number.to_owned() };
        header.replace_range(from..to, &number);
    }
    let mut body = [header.as_bytes(), &rest[8 + length..]].concat();
    // Half of the bytes go into the header, which is a small part of the file.
    let among = if forgery.place.is_multiple_of(2) { header.len() } else { body.len() };
    if forgery.number.is_none() {
        for (offset, byte) in forgery.bytes.iter().enumerate() {
            let place = (forgery.place / 2).wrapping_add(offset) % among;
            body[place] = *byte;
        }
    }
    body.truncate(body.len() - forgery.cut);
    [prefix, &(header.len() as u64).to_le_bytes(), &body].concat()
}

/// Where the numbers of a text in JSON stand.
fn numbers(text: &str) -> Vec<(usize, usize)> {
    let number = |byte: u8| byte.is_ascii_digit() || b"-+.eE".contains(&byte);
    let bytes = text.as_bytes();
    let starts = (1..bytes.len())
        .filter(|&at| (bytes[at].is_ascii_digit() || bytes[at] == b'-') && b":,[".contains(&bytes[at - 1]));
    let end = |start: usize| (start..bytes.len()).find(|&at| !number(bytes[at])).unwrap_or(bytes.len());
    starts.map(|start| (start, end(start))).collect()
}
