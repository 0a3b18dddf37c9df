//! The least program with fast_image_resize's typed API in it.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::{ResizeOptions, Resizer, pixels};

fn main() {
    let side = std::env::args().count() * 100;
    let (source, mut made) = (vec![7; side * side], vec![0; 40 * 30]);
    let view: TypedImageRef<pixels::U8> =
        TypedImageRef::from_buffer(side as u32, side as u32, &source).expect("it is full");
    let mut view_made: TypedImage<pixels::U8> =
        TypedImage::from_buffer(40, 30, &mut made).expect("it has room");
    let options = ResizeOptions::default();
    Resizer::new().resize_typed(&view, &mut view_made, &options).expect("both have pixels");
    println!("{}", made[0]);
}
