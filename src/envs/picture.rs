//! What drawings are drawn on.

use tiny_skia::{Color, FillRule, LineCap, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform};

/// Red, green and blue, each a multiple of 51: the colours that a GIF shows exactly.
pub(super) type Colour = [u8; 3];

pub(super) const WHITE: Colour = [255, 255, 255];
pub(super) const LIGHT_GREY: Colour = [204, 204, 204];
pub(super) const GREY: Colour = [153, 153, 153];
pub(super) const DARK_GREY: Colour = [51, 51, 51];
pub(super) const BLUE: Colour = [51, 102, 153];
pub(super) const LIGHT_BLUE: Colour = [102, 153, 204];
pub(super) const ORANGE: Colour = [255, 153, 51];
pub(super) const GREEN: Colour = [102, 204, 102];

/// A picture of a state: 320 x 240 pixels, of a vertical plane seen from its side. Positions (along, upwards)
/// and lengths are in metres. A shape that is no shape, or reaches more than 8000 pixels far, is not drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    pixels: Pixmap,
    /// From metres to pixels.
    view: Transform,
}

impl Picture {
    /// In pixels.
    pub const WIDTH: u16 = 320;
    /// In pixels.
    pub const HEIGHT: u16 = 240;
    /// In pixels: tiny-skia counts quarters of them in 16 bits.
    const REACH: f32 = 8000.0;

    /// The colours of the pixels, row by row from the top left.
    pub fn rgb(&self) -> impl Iterator<Item = [u8; 3]> + '_ {
        // Nothing is transparent: premultiplied colours are the colours themselves.
        self.pixels.pixels().iter().map(|pixel| [pixel.red(), pixel.green(), pixel.blue()])
    }

    /// A white picture of the plane around `centre`, `height` metres high.
    pub fn new(centre: [f64; 2], height: f64) -> Self {
        let (width, rows) = (u32::from(Self::WIDTH), u32::from(Self::HEIGHT));
        let mut pixels = Pixmap::new(width, rows).expect("a picture has pixels");
        pixels.fill(opaque(WHITE));
        let scale = rows as f32 / height as f32;
        let view = Transform::from_translate(-centre[0] as f32, -centre[1] as f32)
            .post_scale(scale, -scale)
            .post_translate(0.5 * width as f32, 0.5 * rows as f32);
        Self { pixels, view }
    }

    /// A picture of these pixels, `width` in each row from the top left, as large as fits and in the middle.
    /// Pixels that are missing are white.
    pub fn of_pixels(width: usize, height: usize, rgb: &[[u8; 3]]) -> Self {
        let mut picture = Self::new([0.0, 0.0], 1.0);
        let (columns, rows) = (usize::from(Self::WIDTH), usize::from(Self::HEIGHT));
        let scale = (width as f64 / columns as f64).max(height as f64 / rows as f64);
        // The middle of each pixel, from the middle of the picture.
        let place = |index: usize, shown: usize, there: usize| {
            let from_middle = (index as f64 + 0.5 - 0.5 * shown as f64) * scale;
            let place = (from_middle + 0.5 * there as f64).floor();
            (0.0..there as f64).contains(&place).then_some(place as usize)
        };
        for (index, pixel) in picture.pixels.pixels_mut().iter_mut().enumerate() {
            let place = place(index % columns, columns, width).zip(place(index / columns, rows, height));
            if let Some(&[red, green, blue]) = place.and_then(|(x, y)| rgb.get(y * width + x)) {
                *pixel = Color::from_rgba8(red, green, blue, 255).premultiply().to_color_u8();
            }
        }
        picture
    }

    /// Draws a rectangle between its corners at the lower left and the upper right, in a colour of red, green
    /// and blue. A GIF shows multiples of 51 exactly, other colours as the nearest of these.
    pub fn rectangle(&mut self, low: [f64; 2], high: [f64; 2], colour: [u8; 3]) {
        let corners = Rect::from_ltrb(low[0] as f32, low[1] as f32, high[0] as f32, high[1] as f32);
        self.fill(corners.map(PathBuilder::from_rect), colour);
    }

    /// Draws a filled circle.
    pub fn disc(&mut self, [x, z]: [f64; 2], radius: f64, colour: [u8; 3]) {
        self.fill(PathBuilder::from_circle(x as f32, z as f32, radius as f32), colour);
    }

    /// Draws all points within `radius` of the line between `ends`.
    pub fn capsule(&mut self, ends: [[f64; 2]; 2], radius: f64, colour: [u8; 3]) {
        let [[start_x, start_z], [end_x, end_z]] = ends.map(|end| end.map(|value| value as f32));
        let mut line = PathBuilder::new();
        line.move_to(start_x, start_z);
        line.line_to(end_x, end_z);
        let stroke = Stroke { width: 2.0 * radius as f32, line_cap: LineCap::Round, ..Stroke::default() };
        if let Some(line) = self.in_reach(line.finish(), radius as f32) {
            self.pixels.stroke_path(&line, &paint(colour), &stroke, self.view, None);
        }
    }

    fn fill(&mut self, shape: Option<Path>, colour: Colour) {
        if let Some(shape) = self.in_reach(shape, 0.0) {
            self.pixels.fill_path(&shape, &paint(colour), FillRule::Winding, self.view, None);
        }
    }

    /// A path that is drawn `radius` wide to either side, unless it would overflow tiny-skia's coordinates.
    fn in_reach(&self, path: Option<Path>, radius: f32) -> Option<Path> {
        let bounds = path.as_ref()?.bounds().outset(radius, radius)?.transform(self.view)?;
        let ends = [bounds.left(), bounds.top(), bounds.right(), bounds.bottom()];
        path.filter(|_| ends.iter().all(|end| end.abs() < Self::REACH))
    }
}

fn opaque([red, green, blue]: Colour) -> Color {
    Color::from_rgba8(red, green, blue, 255)
}

fn paint(colour: Colour) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color(opaque(colour));
    paint
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(picture: &Picture, column: usize, row: usize) -> Colour {
        picture.rgb().nth(row * usize::from(Picture::WIDTH) + column).unwrap()
    }

    #[test]
    fn shapes_are_where_the_view_shows_them() {
        // 100 pixels a metre; the middle of the picture is (1, 2).
        let mut picture = Picture::new([1.0, 2.0], 2.4);
        picture.rectangle([1.2, 2.5], [1.4, 2.6], BLUE);
        for (column, row, colour) in [
            (180, 69, BLUE),
            (199, 60, BLUE),
            (179, 65, WHITE),
            (200, 65, WHITE),
            (190, 59, WHITE),
            (190, 70, WHITE),
        ] {
            assert_eq!(at(&picture, column, row), colour, "{column} {row}");
        }
        picture.capsule([[0.0, 2.0], [0.5, 2.0]], 0.1, ORANGE);
        for (column, row, colour) in [
            (85, 111, ORANGE),
            (85, 128, ORANGE),
            (85, 108, WHITE),
            (117, 120, ORANGE),
            (122, 120, WHITE),
            (119, 111, WHITE),
        ] {
            assert_eq!(at(&picture, column, row), colour, "{column} {row}");
        }
        picture.disc([1.0, 1.0], 0.1, GREEN);
        assert_eq!((at(&picture, 160, 220), at(&picture, 168, 212)), (GREEN, WHITE));
    }

    #[test]
    fn pixels_are_shown_as_large_as_fits() {
        // Two rows of two, shown as squares of 120 pixels each.
        let picture = Picture::of_pixels(2, 2, &[ORANGE, BLUE, GREEN]);
        for (column, row, colour) in [
            (39, 0, WHITE),
            (40, 0, ORANGE),
            (159, 119, ORANGE),
            (160, 119, BLUE),
            (279, 0, BLUE),
            (280, 0, WHITE),
            (40, 120, GREEN),
            (159, 239, GREEN),
            (160, 120, WHITE),
        ] {
            assert_eq!(at(&picture, column, row), colour, "{column} {row}");
        }
        assert_eq!(Picture::of_pixels(0, 0, &[]), Picture::new([0.0, 0.0], 1.0));
    }

    proptest! {
        /// A caller's numbers, whatever they are, are drawn or not, and nothing else.
        #[test]
        fn any_numbers_can_be_drawn(
            centre in prop::array::uniform2(any_number()),
            height in any_number(),
            ends in prop::array::uniform2(prop::array::uniform2(any_number())),
            radius in any_number(),
        ) {
            for mut picture in [Picture::new(centre, height), Picture::new([0.0, 0.0], 2.4)] {
                picture.rectangle(ends[0], ends[1], BLUE);
                picture.disc(ends[0], radius, GREEN);
                picture.capsule(ends, radius, ORANGE);
            }
        }
    }

    fn any_number() -> impl Strategy<Value = f64> {
        let special = [0.0, f64::NAN, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE, 1e38];
        prop_oneof![-3.0..3.0f64, any::<f64>(), -100.0..100.0f64, prop::sample::select(special.to_vec())]
    }

    #[test]
    fn edges_are_smooth() {
        let mut picture = Picture::new([0.0, 0.0], 2.4);
        picture.rectangle([0.0, 0.0], [0.105, 0.1], [0, 0, 0]);
        let [red, green, blue] = at(&picture, 170, 115);
        assert!((100..156).contains(&red) && red == green && green == blue, "half black: {red}");
    }
}
