//! Networks in files: tensors with names and shapes, in the format of safetensors, which PyTorch, NumPy and
//! others read.
//!
//! What the library adds is JSON in the format's `__metadata__`, under `mpo`: a checksum over all other bytes
//! of the file, the kind of file, the versions of its format and of the library that wrote it, and a header
//! of the kind's own. The order up to the header stays the same in all versions to come, so that a file of
//! another version can say who wrote it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use burn::module::Module;
use crc32fast::Hasher;
use safetensors::{Dtype, SafeTensorError, SafeTensors, View};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::files::file::{Kind, Refusal, replace};
use crate::networks::{names, parameters, with_parameters};

/// Tensors in single precision by their names.
#[derive(Default)]
pub(crate) struct Tensors(BTreeMap<String, Numbers>);

struct Numbers {
    shape: Vec<usize>,
    /// Row after row.
    numbers: Vec<f32>,
}

impl Tensors {
    /// Adds a network's parameters, by their names behind `prefix`.
    pub(crate) fn add_module<M: Module>(&mut self, prefix: &str, module: &M) -> Result<()> {
        let mut numbers = parameters(module)?.into_iter();
        for (name, shape) in names(module) {
            let count = shape.iter().product();
            self.add(join(prefix, &name), shape, numbers.by_ref().take(count).collect())?;
        }
        Ok(())
    }

    /// Adds a vector.
    pub(crate) fn add_vector(&mut self, name: &str, numbers: Vec<f32>) -> Result<()> {
        self.add(name.into(), vec![numbers.len()], numbers)
    }

    /// Adds a tensor, its numbers row after row.
    pub(crate) fn add(&mut self, name: String, shape: Vec<usize>, numbers: Vec<f32>) -> Result<()> {
        if name == "__metadata__" || self.0.contains_key(&name) {
            return Err(Error::Config {
                field: "the name of a parameter",
                value: format!("{name}, which is taken"),
                accepted: "a name of its own for each parameter",
            });
        }
        self.0.insert(name, Numbers { shape, numbers });
        Ok(())
    }

    /// The module with the parameters of these names, shapes and `prefix`, in place of its own.
    pub(crate) fn take_module<M: Module>(&mut self, prefix: &str, module: M) -> Result<M, Refusal> {
        let named = names(&module).into_iter();
        let numbers = named.map(|(name, shape)| self.take(&join(prefix, &name), &shape));
        let numbers = numbers.collect::<Result<Vec<_>, _>>()?.concat();
        Ok(with_parameters(module, numbers))
    }

    /// The vector of this name and size.
    pub(crate) fn take_vector(&mut self, name: &str, size: usize) -> Result<Vec<f32>, Refusal> {
        self.take(name, &[size])
    }

    /// The numbers of this name and shape, row after row.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Refusal> {
        match self.0.remove(name) {
            None => Err(unfit(format!("a file without {name}, of shape {shape:?}"))),
            Some(found) if found.shape == shape => Ok(found.numbers),
            Some(found) => {
                Err(unfit(format!("a file with {name} of shape {:?}, not {shape:?}", found.shape)))
            }
        }
    }

    /// That all of them were taken.
    pub(crate) fn finished(&self) -> Result<(), Refusal> {
        match self.0.first_key_value() {
            None => Ok(()),
            Some((name, Numbers { shape, .. })) => {
                Err(unfit(format!("a file with {name}, of shape {shape:?}, which is not expected")))
            }
        }
    }

    /// A file's contents, with an entry of its metadata.
    fn serialize(&self, key: &str, value: String) -> std::io::Result<Vec<u8>> {
        let metadata = [(key.to_owned(), value)].into_iter().collect();
        safetensors::serialize(&self.0, Some(metadata)).map_err(std::io::Error::other)
    }

    /// How many numbers they are in all.
    pub(crate) fn count(&self) -> usize {
        self.0.values().map(|tensor| tensor.numbers.len()).sum()
    }

    /// Those of a file's contents, each of finite numbers.
    fn parse(contents: &[u8]) -> Result<Self, Refusal> {
        let tensors = SafeTensors::deserialize(contents).map_err(invalid)?;
        let numbers = tensors.iter().map(|(name, tensor)| {
            if tensor.dtype() != Dtype::F32 {
                return Err(format!("{name} holds {}, not F32", tensor.dtype()).into());
            }
            let (bytes, _) = tensor.data().as_chunks();
            let numbers: Vec<f32> = bytes.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            match numbers.iter().find(|number| !number.is_finite()) {
                Some(number) => Err(format!("a number of {name} is {number}").into()),
                None => Ok((name.to_owned(), Numbers { shape: tensor.shape().to_vec(), numbers })),
            }
        });
        Ok(Self(numbers.collect::<Result<_, Refusal>>()?))
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

fn unfit(found: String) -> Refusal {
    Refusal::Other(found, "the parameters of what reads it, each with its name and shape")
}

impl View for &Numbers {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    fn data_len(&self) -> usize {
        4 * self.numbers.len()
    }
}

/// What stands under `mpo`, in this order.
#[derive(Serialize, Deserialize)]
struct Signed<H> {
    /// Eight hexadecimal digits.
    crc32: String,
    kind: String,
    format_version: u32,
    crate_version: String,
    #[serde(flatten)]
    header: H,
}

/// How every file begins, behind the eight bytes of its header's length and before the checksum's digits.
const START: &str = r#"{"__metadata__":{"mpo":"{\"crc32\":\""#;

/// Where the checksum's digits stand.
const CHECKSUM: Range<usize> = 8 + START.len()..8 + START.len() + 8;

/// The checksum of all but its own digits.
fn checksum(contents: &[u8]) -> Option<String> {
    let mut hasher = Hasher::new();
    hasher.update(contents.get(..CHECKSUM.start)?);
    hasher.update(contents.get(CHECKSUM.end..)?);
    Some(format!("{:08x}", hasher.finalize()))
}

/// Writes a file of this kind. What stood there before is replaced at once, or not at all.
pub(crate) fn write(path: &Path, kind: &Kind, header: &impl Serialize, tensors: &Tensors) -> Result<()> {
    put(path, || contents(kind, header, tensors))
}

/// What a file of this kind consists of.
pub(crate) fn contents(kind: &Kind, header: &impl Serialize, tensors: &Tensors) -> std::io::Result<Vec<u8>> {
    let signed = serde_json::to_string(&Signed {
        crc32: "00000000".into(),
        kind: kind.name.into(),
        format_version: kind.version,
        crate_version: env!("CARGO_PKG_VERSION").into(),
        header,
    })?;
    let mut contents = tensors.serialize("mpo", signed)?;
    if let Some(checksum) = checksum(&contents) {
        contents[CHECKSUM].copy_from_slice(checksum.as_bytes());
    }
    Ok(contents)
}

/// Writes a file of these tensors and nothing of the library's own, as PyTorch's programs do.
pub(crate) fn write_plain(path: &Path, tensors: &Tensors) -> Result<()> {
    put(path, || tensors.serialize("format", "pt".into()))
}

/// Reads the tensors of a file that any program wrote.
pub(crate) fn read_plain(path: &Path) -> Result<Tensors> {
    let contents = std::fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    Tensors::parse(&contents).map_err(|refusal| refusal.of(path))
}

/// Puts these contents in the place of what stood there, at once, or not at all.
pub(crate) fn put(path: &Path, contents: impl FnOnce() -> std::io::Result<Vec<u8>>) -> Result<()> {
    replace(path, |mut file| {
        let written =
            contents().and_then(|contents| file.write_all(&contents)).and_then(|()| file.sync_all());
        written.map_err(|source| Error::File { path: path.to_owned(), source })
    })
}

/// Reads a file of this kind: what `load` makes of its header and its tensors, all of which it has to take.
pub(crate) fn read<H: DeserializeOwned, T>(
    path: &Path,
    kind: &Kind,
    load: impl FnOnce(H, &mut Tensors) -> Result<T, Refusal>,
) -> Result<T> {
    let contents = std::fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    parse(&contents, kind, load).map_err(|refusal| refusal.of(path))
}

/// Reads a file of this kind from its bytes.
pub(crate) fn parse<H: DeserializeOwned, T>(
    contents: &[u8],
    kind: &Kind,
    load: impl FnOnce(H, &mut Tensors) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    if contents.starts_with(&[kind.name.as_bytes(), &1_u32.to_le_bytes()].concat()) {
        let found = "of format version 1, which mpo 0.1 wrote before it was published";
        return Err(Refusal::Other(found.into(), kind.accepted));
    }
    if contents.get(8..CHECKSUM.start) != Some(START.as_bytes()) {
        return Err(format!("not an {} file, or its beginning is lost", kind.name).into());
    }
    if checksum(contents).as_deref().map(str::as_bytes) != contents.get(CHECKSUM) {
        return Err("its checksum does not fit".into());
    }
    let (_, metadata) = SafeTensors::read_metadata(contents).map_err(invalid)?;
    let signed = metadata.metadata().as_ref().and_then(|entries| entries.get("mpo"));
    let signed = signed.ok_or("without a header")?;
    let Signed::<Value> { kind: name, format_version, crate_version, .. } = from_json(signed)?;
    if name != kind.name {
        return Err(Refusal::Other(format!("an {name} file"), kind.accepted));
    }
    if format_version != kind.version {
        let found = format!("of format version {format_version}, which mpo {crate_version} wrote and reads");
        return Err(Refusal::Other(found, kind.accepted));
    }
    let Signed { header, .. } = from_json(signed)?;
    let mut tensors = Tensors::parse(contents)?;
    let loaded = load(header, &mut tensors)?;
    tensors.finished()?;
    Ok(loaded)
}

fn from_json<H: DeserializeOwned>(text: &str) -> Result<H, Refusal> {
    serde_json::from_str(text).map_err(|error| error.to_string().into())
}

fn invalid(error: SafeTensorError) -> Refusal {
    error.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tensors_of_one_name_are_refused() {
        let mut tensors = Tensors::default();
        tensors.add_vector("weight", vec![1.0]).unwrap();
        for name in ["weight", "__metadata__"] {
            let error = tensors.add_vector(name, vec![1.0]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("a name of its own"), "{error}");
        }
        assert_eq!(tensors.count(), 1);
    }
}
