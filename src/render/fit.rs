//! How large a rendition becomes.

/// The size, in pixels, of a `width`×`height` picture inside a box: ratio kept, never enlarged,
/// each side at least one pixel. Rounds as sharp and libvips do: the side that decides is exact,
/// the other one goes to the nearest pixel.
pub fn fit(width: u32, height: u32, box_width: u32, box_height: u32) -> (u32, u32) {
    if width <= box_width && height <= box_height {
        return (width, height);
    }
    let (w, h, bw, bh) = (u64::from(width), u64::from(height), u64::from(box_width), u64::from(box_height));
    // Compare w/bw with h/bh without division: the larger shrink decides.
    let (fitted_w, fitted_h) =
        if w * bh >= h * bw { (bw, rounded(h * bw, w)) } else { (rounded(w * bh, h), bh) };
    let side = |s: u64| u32::try_from(s.max(1)).expect("not larger than the box");
    (side(fitted_w), side(fitted_h))
}

fn rounded(numerator: u64, denominator: u64) -> u64 {
    (2 * numerator + denominator) / (2 * denominator)
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn sizes_are_those_of_sharp() {
        for (source, expected) in [
            ((1025, 769), (1024, 768)),
            ((10_000, 1), (1024, 1)),
            ((65_500, 8), (1024, 1)),
            ((1024, 768), (1024, 768)),
            ((120, 90), (120, 90)),
            ((4032, 3024), (1024, 768)),
            ((3024, 4032), (576, 768)),
            ((1800, 1200), (1024, 683)),
            ((3840, 2160), (1024, 576)),
            ((1, 1), (1, 1)),
            ((1, 65_535), (1, 768)),
        ] {
            assert_eq!(fit(source.0, source.1, 1024, 768), expected, "{source:?}");
        }
    }
}
