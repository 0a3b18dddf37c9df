//! What bytes are, by their content.

use crate::error::{Reason, Rejection};
use image::ImageFormat;

/// JPEG, which is our own, and what the `image` crate is built to read and can tell by its first bytes.
pub fn sniff(bytes: &[u8]) -> Result<ImageFormat, Rejection> {
    if bytes.is_empty() {
        return Err(Rejection::new(Reason::Empty, "the file has no bytes"));
    }
    // Between SOI and the next marker there may be anything.
    if bytes.starts_with(&[0xFF, 0xD8]) {
        return Ok(ImageFormat::Jpeg);
    }
    let format = image::guess_format(bytes).map_err(|_| not_an_image(bytes))?;
    if format.reading_enabled() { Ok(format) } else { Err(not_an_image(bytes)) }
}

fn not_an_image(bytes: &[u8]) -> Rejection {
    let start: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
    let detail = format!("the file starts with {} and is of no image format that we read", start.join(" "));
    Rejection::new(Reason::NotAnImage, detail)
}
