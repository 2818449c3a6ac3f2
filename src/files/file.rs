//! The library's files: whole and undamaged, or refused. Those of replays and runs; networks are in files of
//! named tensors, see `tensor_file`.
//!
//! A file is its kind's name, the version of its format, a header in JSON, plain little-endian numbers, and a
//! checksum over all of it. The order up to the header stays the same in all versions to come, so that a file
//! of another version can say who wrote it.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crc32fast::Hasher;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checks::check_finite;
use crate::error::{Error, Result};

/// A kind of file.
pub(crate) struct Kind {
    /// Its first bytes.
    pub name: &'static str,
    /// The version of its format that this version of the library writes and reads.
    pub version: u32,
    /// What is accepted, in words.
    pub accepted: &'static str,
}

/// The header, with who wrote it.
#[derive(Serialize, Deserialize)]
struct Signed<H> {
    crate_version: String,
    #[serde(flatten)]
    header: H,
}

/// Why a file is not taken.
pub(crate) enum Refusal {
    /// It is not as it was written.
    Damaged(String),
    /// It is whole, but this instead of what is accepted.
    Other(String, &'static str),
    /// The system could not read it.
    Unreadable(std::io::Error),
}

impl<D: Into<String>> From<D> for Refusal {
    fn from(damage: D) -> Self {
        Self::Damaged(damage.into())
    }
}

impl Refusal {
    /// In words.
    #[cfg(feature = "distributed")]
    pub(crate) fn in_words(self) -> String {
        match self {
            Self::Damaged(damage) => damage,
            Self::Other(found, accepted) => format!("{found}, accepted: {accepted}"),
            Self::Unreadable(source) => source.to_string(),
        }
    }

    /// Of the file at this path.
    pub(crate) fn of(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Damaged(damage) => Error::Damaged { path, damage },
            Self::Other(found, accepted) => Error::Format { path, found, accepted },
            Self::Unreadable(source) => Error::File { path, source },
        }
    }
}

/// Bytes at a time: what is written or read is never held twice in memory.
const PIECE: usize = 1 << 18;

/// Where a file's numbers are written to.
pub(crate) struct Output<'a> {
    sink: &'a mut dyn Write,
    checksum: Hasher,
}

impl Output<'_> {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.checksum.update(bytes);
        self.sink.write_all(bytes)
    }

    pub(crate) fn floats(&mut self, numbers: &[f32]) -> std::io::Result<()> {
        let mut piece = vec![0; PIECE.min(4 * numbers.len())];
        for numbers in numbers.chunks(PIECE / 4) {
            let piece = &mut piece[..4 * numbers.len()];
            let (places, _) = piece.as_chunks_mut();
            places.iter_mut().zip(numbers).for_each(|(place, number)| *place = number.to_le_bytes());
            self.bytes(piece)?;
        }
        Ok(())
    }
}

/// Writes a file of this kind. What stood there before is replaced at once, or not at all.
pub(crate) fn write(
    path: &Path,
    kind: &Kind,
    header: &impl Serialize,
    content: impl FnOnce(&mut Output<'_>) -> std::io::Result<()>,
) -> Result<()> {
    let write = |file: File| {
        let mut file = BufWriter::with_capacity(PIECE, file);
        write_to(&mut file, kind, header, content)?;
        file.into_inner()?.sync_all()
    };
    replace(path, |file| write(file).map_err(|source| Error::File { path: path.to_owned(), source }))
}

/// Writes what a file of this kind consists of.
pub(crate) fn write_to(
    sink: &mut dyn Write,
    kind: &Kind,
    header: &impl Serialize,
    content: impl FnOnce(&mut Output<'_>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let signed = Signed { crate_version: env!("CARGO_PKG_VERSION").into(), header };
    let header = serde_json::to_vec(&signed)?;
    let mut output = Output { sink, checksum: Hasher::new() };
    output.bytes(kind.name.as_bytes())?;
    output.bytes(&kind.version.to_le_bytes())?;
    output.bytes(&(header.len() as u64).to_le_bytes())?;
    output.bytes(&header)?;
    content(&mut output)?;
    let checksum = output.checksum.clone().finalize();
    output.bytes(&checksum.to_le_bytes())
}

/// Puts the file that `write` fills in the place of what stood there, at once, or not at all.
pub(crate) fn replace<T>(path: &Path, write: impl FnOnce(File) -> Result<T>) -> Result<T> {
    let beside = with_suffix(path, ".part");
    let failed = |source| Error::File { path: path.to_owned(), source };
    let written = File::create(&beside).map_err(failed).and_then(|file| {
        let made = write(file)?;
        rename(&beside, path).map_err(failed)?;
        Ok(made)
    });
    if written.is_err() {
        // Nothing half-written is left; that it cannot be removed is no news after what failed.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// The path with something after its last letter.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Renames a file or folder, for good: also after a power cut.
pub(crate) fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::rename(from, to)?;
    match to.parent() {
        Some(folder) if folder != Path::new("") => sync_folder(folder),
        _ => sync_folder(Path::new(".")),
    }
}

/// Waits until the names in a folder are on the disk, where the system can be asked for it.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Where a file's numbers are read from.
pub(crate) struct Input<'a> {
    source: &'a mut dyn Read,
    /// How many bytes are left.
    remaining: u64,
}

impl Input<'_> {
    pub(crate) fn bytes(&mut self, count: usize) -> Result<Vec<u8>, Refusal> {
        self.take(count, 1)?;
        let mut bytes = vec![0; count];
        self.source.read_exact(&mut bytes).map_err(unreadable)?;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        self.bytes(N)?.try_into().map_err(|_| "cut short".into())
    }

    /// Numbers that have to be finite.
    pub(crate) fn floats(&mut self, count: usize) -> Result<Vec<f32>, Refusal> {
        self.take(count, 4)?;
        let mut numbers = Vec::with_capacity(count);
        let mut piece = vec![0; PIECE.min(4 * count)];
        while numbers.len() < count {
            let piece = &mut piece[..PIECE.min(4 * (count - numbers.len()))];
            self.source.read_exact(piece).map_err(unreadable)?;
            let (piece, _) = piece.as_chunks();
            numbers.extend(piece.iter().map(|&bytes| f32::from_le_bytes(bytes)));
        }
        check_finite("a number", &numbers).map_err(|error| error.to_string())?;
        Ok(numbers)
    }

    /// Counts what is about to be read, before memory is asked for it.
    fn take(&mut self, count: usize, size: u64) -> Result<(), Refusal> {
        let needed = (count as u64).checked_mul(size);
        match needed.and_then(|needed| self.remaining.checked_sub(needed)) {
            Some(remaining) => {
                self.remaining = remaining;
                Ok(())
            }
            None => Err("shorter than it says".into()),
        }
    }
}

fn unreadable(error: std::io::Error) -> Refusal {
    match error.kind() {
        ErrorKind::UnexpectedEof => "cut short".into(),
        _ => Refusal::Unreadable(error),
    }
}

/// Reads a file of this kind: what `load` makes of its header and its numbers, all of which it has to take.
pub(crate) fn read<H: DeserializeOwned, T>(
    path: &Path,
    kind: &Kind,
    load: impl FnOnce(H, &mut Input<'_>) -> Result<T, Refusal>,
) -> Result<T> {
    let file = File::open(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    parse(&mut BufReader::with_capacity(PIECE, file), kind, load).map_err(|refusal| refusal.of(path))
}

/// Reads a file of this kind from what holds its bytes.
pub(crate) fn parse<H: DeserializeOwned, T>(
    source: &mut (impl Read + Seek),
    kind: &Kind,
    load: impl FnOnce(H, &mut Input<'_>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let length = source.seek(SeekFrom::End(0)).map_err(unreadable)?;
    source.rewind().map_err(unreadable)?;
    // The checksum first: nothing is made of damaged bytes.
    let whole = checksum_fits(&mut Input { source, remaining: length })?;
    source.rewind().map_err(unreadable)?;
    let mut input = Input { source, remaining: length.saturating_sub(4) };
    if input.bytes(kind.name.len()).ok().as_deref() != Some(kind.name.as_bytes()) {
        return Err(format!("not an {} file, or its beginning is lost", kind.name).into());
    }
    if !whole {
        return Err("its checksum does not fit".into());
    }
    let version = u32::from_le_bytes(input.array()?);
    if version != kind.version {
        let writer = header::<Signed<Value>>(&mut input)
            .map(|signed| format!(", which mpo {} wrote and reads", signed.crate_version));
        let found = format!("of format version {version}{}", writer.unwrap_or_default());
        return Err(Refusal::Other(found, kind.accepted));
    }
    let Signed { header, .. } = header::<Signed<H>>(&mut input)?;
    let loaded = load(header, &mut input)?;
    if input.remaining > 0 {
        return Err("longer than it says".into());
    }
    Ok(loaded)
}

/// Whether the last four bytes are the checksum of all before them.
fn checksum_fits(input: &mut Input<'_>) -> Result<bool, Refusal> {
    let mut checksum = Hasher::new();
    while input.remaining > 4 {
        let piece = (input.remaining - 4).min(PIECE as u64);
        checksum.update(&input.bytes(piece as usize)?);
    }
    match input.array() {
        Err(Refusal::Unreadable(error)) => Err(Refusal::Unreadable(error)),
        last => Ok(last.is_ok_and(|last| u32::from_le_bytes(last) == checksum.finalize())),
    }
}

fn header<H: DeserializeOwned>(input: &mut Input<'_>) -> Result<H, Refusal> {
    let length = usize::try_from(u64::from_le_bytes(input.array()?)).map_err(|_| "a header without end")?;
    serde_json::from_slice(&input.bytes(length)?).map_err(|error| error.to_string().into())
}

/// Checks that settings are those that a file was saved with, and names the first that is not.
pub(crate) fn check_same(saved: &impl Serialize, own: &impl Serialize) -> Result<(), Refusal> {
    fn compare(place: &str, saved: &Value, own: &Value) -> Result<(), Refusal> {
        match (saved, own) {
            (Value::Object(saved), Value::Object(own)) if saved.keys().eq(own.keys()) => {
                let mut fields = saved.iter().zip(own.values());
                fields.try_for_each(|((name, saved), own)| compare(&format!("{place}.{name}"), saved, own))
            }
            _ if saved == own => Ok(()),
            _ => {
                let found = format!("saved with {} = {saved}, not {own}", place.trim_start_matches('.'));
                Err(Refusal::Other(found, "the same settings as of what reads it"))
            }
        }
    }
    let [saved, own] = [serde_json::to_value(saved), serde_json::to_value(own)];
    compare("", &saved.map_err(|error| error.to_string())?, &own.map_err(|error| error.to_string())?)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A file on a disk that fails behind the first bytes.
    struct Failing(Cursor<Vec<u8>>);

    impl Read for Failing {
        fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(bytes)? {
                0 => Err(std::io::Error::other("the disk is gone")),
                count => Ok(count),
            }
        }
    }

    impl Seek for Failing {
        fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
            Ok(self.0.seek(to)? + if matches!(to, SeekFrom::End(_)) { 100 } else { 0 })
        }
    }

    /// A file that cannot be read is not damaged: it may be whole.
    #[test]
    fn what_the_system_says_is_not_damage() {
        const KIND: Kind = Kind { name: "mpo test", version: 1, accepted: "a test's" };
        for length in [0, 5, 40] {
            let mut source = Failing(Cursor::new(vec![1; length]));
            let refusal = parse(&mut source, &KIND, |(): (), _| Ok(()));
            assert!(
                matches!(refusal, Err(Refusal::Unreadable(error)) if error.to_string() == "the disk is gone")
            );
        }
        let mut cut = Cursor::new(vec![1; 10]);
        assert!(matches!(parse(&mut cut, &KIND, |(): (), _| Ok(())), Err(Refusal::Damaged(_))));
    }
}
