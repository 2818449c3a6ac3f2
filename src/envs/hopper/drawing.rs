//! What a hopper looks like.

use super::Hopper;
use super::chain::Chain;
use super::model::{BODIES, CAPSULE};
use super::physics::CONTROL_STEP;
use crate::envs::error::ControlError;
use crate::envs::picture::{BLUE, Colour, GREY, LIGHT_BLUE, LIGHT_GREY, ORANGE, Picture};
use crate::envs::recording::Draw;

/// From the torso to the foot.
const COLOURS: [Colour; BODIES] = [BLUE, LIGHT_BLUE, BLUE, LIGHT_BLUE, ORANGE];
/// The length of the floor's tiles, in metres.
const TILE: f64 = 0.5;

impl Draw for Hopper {
    fn step_time(&self) -> f64 {
        CONTROL_STEP
    }

    /// Its capsules on a tiled floor; the view moves along with it.
    fn draw(&mut self) -> Result<Picture, ControlError> {
        let joints = self.state().qpos;
        let chain = Chain::new(&joints);
        let along = joints[0];
        let mut picture = Picture::new([along, 0.75], 2.4);
        picture.rectangle([along - 2.0, -1.0], [along + 2.0, 0.0], LIGHT_GREY);
        let first = 2.0 * TILE * ((along - 2.0) / (2.0 * TILE)).floor();
        for tile in 0..5 {
            let start = first + f64::from(tile) * 2.0 * TILE;
            picture.rectangle([start, -0.12], [start + TILE, 0.0], GREY);
        }
        for capsule in &CAPSULE {
            let ends = capsule.ends.map(|end| chain.point(capsule.body, end));
            picture.capsule(ends, capsule.radius, COLOURS[capsule.body]);
        }
        Ok(picture)
    }
}
