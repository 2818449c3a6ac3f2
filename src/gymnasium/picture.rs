//! Environments in Python as pictures.

use super::{Gymnasium, GymnasiumError};
use crate::envs::{Draw, Picture};

impl Draw for Gymnasium {
    fn step_time(&self) -> f64 {
        self.description.step_time
    }

    fn draw(&mut self) -> Result<Picture, GymnasiumError> {
        let frame = self.render()?;
        Ok(Picture::of_pixels(frame.width, frame.height, &frame.rgb))
    }
}
