//! Episodes as GIF files.

use std::io::{BufWriter, Write};
use std::path::Path;

use gif::{Encoder, EncodingError, Frame, Repeat};

use super::picture::Picture;
use crate::error::{Error, Result};
use crate::experience::checked::Checked;
use crate::experience::environment::Environment;
use crate::files::file::replace;

/// An environment that can be drawn, and so be recorded by [`record_episode`].
///
/// ```
/// use mpo::envs::{Draw, Picture, record_episode};
/// use mpo::{ActionSpace, Environment, Step};
///
/// /// A ball that is pushed along: position and steps made.
/// struct Ball(f32, u32);
///
/// impl Environment for Ball {
/// #   type Error = std::convert::Infallible;
/// #   fn observation_size(&self) -> usize {
/// #       1
/// #   }
/// #   fn action_space(&self) -> ActionSpace {
/// #       ActionSpace::symmetric(1)
/// #   }
/// #   fn reset(&mut self, _seed: u64) -> Result<Vec<f32>, Self::Error> {
/// #       *self = Self(0.0, 0);
/// #       Ok(vec![self.0])
/// #   }
/// #   fn step(&mut self, action: &[f32]) -> Result<Step, Self::Error> {
/// #       *self = Self(self.0 + 0.1 * action[0], self.1 + 1);
/// #       let truncated = self.1 == 10;
/// #       Ok(Step { observation: vec![self.0], reward: 1.0, terminated: false, truncated })
/// #   }
///     // ...
/// }
///
/// impl Draw for Ball {
///     fn step_time(&self) -> f64 {
///         0.02
///     }
///
///     fn draw(&mut self) -> Result<Picture, Self::Error> {
///         let mut picture = Picture::new([0.0, 0.5], 2.0);
///         picture.disc([self.0.into(), 0.1], 0.1, [255, 153, 51]);
///         Ok(picture)
///     }
/// }
///
/// let path = std::env::temp_dir().join(format!("ball-{}.gif", std::process::id()));
/// assert_eq!(record_episode(&path, Ball(0.0, 0), 1, |_| Ok(vec![1.0]))?, 10.0);
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), mpo::Error>(())
/// ```
pub trait Draw: Environment {
    /// The time that a control step takes, in seconds.
    fn step_time(&self) -> f64;

    /// A picture of the current state.
    fn draw(&mut self) -> Result<Picture, Self::Error>;
}

/// The time between two pictures, in hundredths of a second.
const DELAY: u16 = 4;

/// Levels of red, green and blue in the palette, and the step between two.
const LEVELS: u8 = 6;
const LEVEL: u8 = 51;

/// Plays an episode and writes its pictures, 25 a second or one a step, as a GIF file that shows it at the
/// speed that it has. Returns the episode's return. A file that stood there is replaced once the episode is
/// over.
///
/// `policy` gives an action for an observation, in the policy's units: [-1, 1] stands for the bounds.
///
/// ```no_run
/// use mpo::envs::{Cartpole, record_episode};
///
/// let push_right = |_: &[f32]| Ok(vec![1.0]);
/// record_episode("cartpole.gif", Cartpole::balance(), 1, push_right)?;
/// # Ok::<(), mpo::Error>(())
/// ```
///
/// # Errors
/// If the file cannot be written, or the policy or the environment fails.
pub fn record_episode<E: Draw>(
    path: impl AsRef<Path>,
    environment: E,
    seed: u64,
    mut policy: impl FnMut(&[f32]) -> Result<Vec<f32>>,
) -> Result<f64> {
    let path = path.as_ref();
    let failed = |error: EncodingError| Error::File {
        path: path.to_path_buf(),
        source: match error {
            EncodingError::Io(source) => source,
            other => std::io::Error::other(other),
        },
    };
    let mut environment = Checked::new(environment)?;
    let step_time = 100.0 * environment.environment().step_time();
    let period = (f64::from(DELAY) / step_time).round().max(1.0) as u64;
    let delay = (step_time * period as f64).round() as u16;
    replace(path, |file| {
        let mut animation = Animation::new(BufWriter::new(file), delay).map_err(failed)?;
        let mut observation = environment.reset_row(0, seed)?;
        let mut sum = 0.0;
        for index in 0u64.. {
            if index.is_multiple_of(period) {
                let picture = environment.environment_mut().draw();
                let picture =
                    picture.map_err(|error| Error::Environment { place: "draw", source: error.into() })?;
                animation.push(&picture).map_err(failed)?;
            }
            let step = environment.step_row(0, &policy(&observation)?)?;
            sum += f64::from(step.reward);
            if step.is_last() {
                break;
            }
            observation = step.observation;
        }
        animation.finish().map_err(failed)?;
        Ok(sum)
    })
}

/// A GIF file under way. Pixels that stay as they were are transparent, which keeps it small.
struct Animation<W: Write> {
    encoder: Encoder<W>,
    /// Of each picture, in hundredths of a second.
    delay: u16,
    last: Vec<u8>,
}

impl<W: Write> Animation<W> {
    /// The palette's first index after its colours.
    const UNCHANGED: u8 = LEVELS * LEVELS * LEVELS;

    fn new(output: W, delay: u16) -> Result<Self, EncodingError> {
        let colours = (0..Self::UNCHANGED)
            .flat_map(|index| [index / (LEVELS * LEVELS), index / LEVELS % LEVELS, index % LEVELS]);
        let mut palette: Vec<_> = colours.map(|level| level * LEVEL).collect();
        palette.extend([0; 3]);
        let mut encoder = Encoder::new(output, Picture::WIDTH, Picture::HEIGHT, &palette)?;
        encoder.set_repeat(Repeat::Infinite)?;
        Ok(Self { encoder, delay, last: Vec::new() })
    }

    fn push(&mut self, picture: &Picture) -> Result<(), EncodingError> {
        let nearest = |part: u8| part / LEVEL + u8::from(part % LEVEL > LEVEL / 2);
        let pixels: Vec<u8> = picture
            .rgb()
            .map(|colour| colour.into_iter().fold(0, |index, part| index * LEVELS + nearest(part)))
            .collect();
        let shown = if self.last.is_empty() {
            pixels.clone()
        } else {
            let pairs = pixels.iter().zip(&self.last);
            pairs.map(|(&new, &old)| if new == old { Self::UNCHANGED } else { new }).collect()
        };
        let mut frame =
            Frame::from_indexed_pixels(Picture::WIDTH, Picture::HEIGHT, shown, Some(Self::UNCHANGED));
        frame.delay = self.delay;
        self.last = pixels;
        self.encoder.write_frame(&frame)
    }

    fn finish(self) -> Result<(), EncodingError> {
        Ok(self.encoder.into_inner()?.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::envs::picture::{BLUE, ORANGE, WHITE};
    use crate::envs::{Acrobot, Cartpole, Hopper};

    /// The pictures of a GIF file, as a viewer shows them, in the palette's colours.
    fn played(bytes: &[u8]) -> Vec<Vec<[u8; 3]>> {
        let mut decoder = gif::DecodeOptions::new().read_info(Cursor::new(bytes)).unwrap();
        let palette = decoder.global_palette().unwrap().to_vec();
        let mut screen = Vec::new();
        let mut pictures = Vec::new();
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            assert_eq!((frame.width, frame.height, frame.delay), (320, 240, 4));
            screen.resize(frame.buffer.len(), [1, 2, 3]);
            for (pixel, &index) in screen.iter_mut().zip(frame.buffer.iter()) {
                if Some(index) != frame.transparent {
                    *pixel = palette[3 * usize::from(index)..][..3].try_into().unwrap();
                }
            }
            pictures.push(screen.clone());
        }
        pictures
    }

    #[test]
    fn an_animation_shows_its_pictures() {
        let pictures = [[-0.5, 0.0], [0.3, 0.1], [0.3, 0.1]].map(|centre| {
            let mut picture = Picture::new([0.0, 0.0], 2.0);
            picture.disc(centre, 0.3, ORANGE);
            picture.rectangle([0.0, -0.5], [0.5, 0.0], BLUE);
            picture
        });
        let mut bytes = Vec::new();
        let mut animation = Animation::new(&mut bytes, DELAY).unwrap();
        for picture in &pictures {
            animation.push(picture).unwrap();
        }
        animation.finish().unwrap();
        let played = played(&bytes);
        assert_eq!(played.len(), 3);
        for (shown, drawn) in played.iter().zip(&pictures) {
            for (shown, drawn) in shown.iter().zip(drawn.rgb()) {
                // Flat colours as they are, edges to the nearest of the palette.
                let exact = [WHITE, BLUE, ORANGE].contains(&drawn);
                let near = shown.iter().zip(drawn).all(|(&a, b)| a.abs_diff(b) <= 26);
                assert!(if exact { *shown == drawn } else { near }, "{shown:?} {drawn:?}");
            }
        }
    }

    #[test]
    fn an_episode_plays_at_its_own_speed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("episode.gif");
        // 10 s and 20 s at 25 pictures a second.
        assert!(record_episode(&path, Cartpole::balance(), 1, |_| Ok(vec![0.0])).unwrap() > 1.0);
        assert_eq!(played(&std::fs::read(&path).unwrap()).len(), 250);
        record_episode(&path, Acrobot::swingup(), 1, |_| Ok(vec![1.0])).unwrap();
        assert_eq!(played(&std::fs::read(&path).unwrap()).len(), 250);
        record_episode(&path, Hopper::stand(), 1, |seen| Ok(vec![seen[0].sin(); 4])).unwrap();
        let hopper = played(&std::fs::read(&path).unwrap());
        assert_eq!(hopper.len(), 500);
        assert_ne!(hopper[0], hopper[10]);
    }

    #[test]
    fn a_failing_policy_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("episode.gif");
        std::fs::write(&path, "an earlier episode").unwrap();
        let mut calls = 0;
        let too_many = |_: &[f32]| {
            calls += 1;
            Ok(vec![0.0; if calls < 10 { 1 } else { 2 }])
        };
        record_episode(&path, Cartpole::balance(), 1, too_many).unwrap_err();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "an earlier episode");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error() {
        let error =
            record_episode("/no such folder/a.gif", Cartpole::balance(), 1, |_| Ok(vec![0.0])).unwrap_err();
        assert!(error.to_string().starts_with("/no such folder/a.gif: "), "{error}");
    }
}
