//! What a cartpole looks like.

use super::Cartpole;
use super::physics::{RAIL, TIME_STEP};
use crate::envs::error::ControlError;
use crate::envs::picture::{BLUE, DARK_GREY, LIGHT_GREY, ORANGE, Picture};
use crate::envs::recording::Draw;

impl Draw for Cartpole {
    fn step_time(&self) -> f64 {
        TIME_STEP
    }

    /// The rail with its soft ends, the cart and the pole.
    fn draw(&mut self) -> Result<Picture, ControlError> {
        let [position, angle] = self.state().qpos;
        let mut picture = Picture::new([0.0, 0.15], 3.3);
        picture.rectangle([-RAIL, -0.02], [RAIL, 0.02], LIGHT_GREY);
        for end in [-RAIL, RAIL] {
            picture.rectangle([end - 0.02, -0.1], [end + 0.02, 0.1], LIGHT_GREY);
        }
        picture.rectangle([position - 0.2, -0.1], [position + 0.2, 0.1], BLUE);
        picture.capsule([[position, 0.0], [position + angle.sin(), angle.cos()]], 0.045, ORANGE);
        picture.disc([position, 0.0], 0.03, DARK_GREY);
        Ok(picture)
    }
}
