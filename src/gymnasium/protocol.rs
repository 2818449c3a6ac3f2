//! What the child says, and how it is read. `serve.py` is the other side.

use std::io::{ErrorKind, Read};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Frame, GymnasiumError};

/// What the environment is, as the child describes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Description {
    pub observation_size: usize,
    pub action: Actions,
    pub repeatable: bool,
    /// In seconds.
    pub step_time: f64,
    pub time_limit: Option<u64>,
}

/// The action spaces that are served.
pub(super) const ACTIONS: &str = "a Box of floating-point numbers with finite bounds, Discrete, MultiDiscrete, \
    MultiBinary, or a Tuple or Dict of these";

/// What an action is: numbers inside bounds, then choices of so many alternatives each.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Actions {
    pub low: Vec<f32>,
    pub high: Vec<f32>,
    pub choices: Vec<usize>,
}

/// What the child says when something goes wrong.
#[derive(Deserialize)]
#[serde(untagged)]
enum Failure {
    Refused { refused: String, found: String, accepted: String },
    Exception { exception: String, traceback: String, advice: Option<String> },
}

impl From<Failure> for GymnasiumError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused { refused, found, accepted } => Self::Refused { what: refused, found, accepted },
            Failure::Exception { exception, traceback, advice } => {
                Self::Exception { exception, advice, traceback: traceback.trim_end().into() }
            }
        }
    }
}

/// Why there is no answer.
pub(super) enum Silence {
    /// The pipe is closed or broken.
    Ended,
    /// What came in place of an answer.
    Other(String),
    /// The child said what went wrong.
    Told(GymnasiumError),
}

impl From<std::io::Error> for Silence {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == ErrorKind::InvalidData { Self::Other(error.to_string()) } else { Self::Ended }
    }
}

/// What the child is asked for.
pub(super) enum Ask<'a> {
    Reset(u64),
    Step(&'a [f32]),
    Picture,
}

impl Ask<'_> {
    /// The request, with its number.
    pub(super) fn write(&self, number: u32, request: &mut Vec<u8>) {
        request.push(match self {
            Self::Reset(_) => b'R',
            Self::Step(_) => b'S',
            Self::Picture => b'P',
        });
        request.extend(number.to_le_bytes());
        match self {
            Self::Reset(seed) => request.extend(seed.to_le_bytes()),
            Self::Step(action) => request.extend(action.iter().flat_map(|part| part.to_le_bytes())),
            Self::Picture => {}
        }
    }
}

/// What stands before the description; what the interpreter prints before it is passed over.
const MARK: &[u8] = b"\0mpo serves \0";

/// The description, or why there is no environment.
pub(super) fn description(answers: &mut impl Read) -> Result<Description, Silence> {
    let mut seen = Vec::new();
    while !seen.ends_with(MARK) {
        seen.extend(array::<1>(answers)?);
        if seen.len() > 1 << 20 {
            return Err(Silence::Other(format!("{:?}...", readable(&seen[..200]))));
        }
    }
    match array(answers)? {
        [0] => Ok(json(answers)?),
        _ => Err(failure(answers)),
    }
}

/// The answer to the request with this number, whose own part `read` reads.
pub(super) fn answer<R: Read, T>(
    answers: &mut R,
    number: u32,
    read: impl FnOnce(&mut R) -> std::io::Result<T>,
) -> Result<T, Silence> {
    let [status, answered @ ..] = array::<5>(answers)?;
    match status {
        0 if answered == number.to_le_bytes() => Ok(read(answers)?),
        1 if answered == number.to_le_bytes() => Err(failure(answers)),
        _ => Err(Silence::Other(format!("{:?}", readable(&[&[status], &answered[..]].concat())))),
    }
}

pub(super) fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn array<const N: usize>(answers: &mut impl Read) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    answers.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// This many single-precision numbers.
pub(super) fn numbers(answers: &mut impl Read, size: usize) -> std::io::Result<Vec<f32>> {
    let mut bytes = vec![0; 4 * size];
    answers.read_exact(&mut bytes)?;
    Ok(bytes.chunks_exact(4).map(|part| f32::from_le_bytes([part[0], part[1], part[2], part[3]])).collect())
}

/// Red, green and blue of each pixel, behind the width and the height.
pub(super) fn frame(answers: &mut impl Read) -> std::io::Result<Frame> {
    let [width, height] = [array(answers)?, array(answers)?].map(u32::from_le_bytes);
    let bytes = bytes(answers, 3 * u64::from(width) * u64::from(height))?;
    let rgb = bytes.chunks_exact(3).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    Ok(Frame { width: width as usize, height: height as usize, rgb })
}

/// A text in JSON behind its number of bytes.
fn json<T: DeserializeOwned>(answers: &mut impl Read) -> std::io::Result<T> {
    let size = u32::from_le_bytes(array(answers)?);
    let bytes = bytes(answers, size.into())?;
    let other = |_| std::io::Error::new(ErrorKind::InvalidData, format!("{:?}", readable(&bytes)));
    serde_json::from_slice(&bytes).map_err(other)
}

/// This many bytes, no more of them in memory than came.
fn bytes(answers: &mut impl Read, size: u64) -> std::io::Result<Vec<u8>> {
    const MOST: u64 = 1 << 28;
    if size > MOST {
        return Err(std::io::Error::new(ErrorKind::InvalidData, format!("an answer of {size} bytes")));
    }
    let mut bytes = Vec::new();
    answers.take(size).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

/// What the child says went wrong.
fn failure(answers: &mut impl Read) -> Silence {
    json::<Failure>(answers).map_or_else(Silence::from, |failure| Silence::Told(failure.into()))
}
