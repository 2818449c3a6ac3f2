//! What an acrobot looks like.

use super::physics::TIME_STEP;
use super::{Acrobot, SHOULDER, TARGET, TARGET_RADIUS, elbow_and_tip};
use crate::envs::error::ControlError;
use crate::envs::picture::{BLUE, DARK_GREY, GREEN, LIGHT_GREY, ORANGE, Picture};
use crate::envs::recording::Draw;

impl Draw for Acrobot {
    fn step_time(&self) -> f64 {
        TIME_STEP
    }

    /// The target, the post that carries the shoulder, and the two links.
    fn draw(&mut self) -> Result<Picture, ControlError> {
        let [elbow, tip] = elbow_and_tip(&self.state());
        let mut picture = Picture::new(SHOULDER, 4.8);
        picture.rectangle([-5.0, -1.0], [5.0, 0.0], LIGHT_GREY);
        picture.rectangle([-0.03, 0.0], [0.03, SHOULDER[1]], LIGHT_GREY);
        picture.disc(TARGET, TARGET_RADIUS, GREEN);
        picture.capsule([SHOULDER, elbow], 0.06, BLUE);
        picture.capsule([elbow, tip], 0.06, ORANGE);
        picture.disc(SHOULDER, 0.03, DARK_GREY);
        picture.disc(elbow, 0.03, DARK_GREY);
        Ok(picture)
    }
}
