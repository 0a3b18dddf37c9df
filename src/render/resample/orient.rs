//! EXIF orientation: turning and mirroring a plane.

use super::super::plane::Plane;

/// Turns and mirrors as EXIF orientation 1 to 8 asks (EXIF 2.32, tag 0x0112); any other value changes nothing.
pub fn orient(plane: Plane, orientation: u8) -> Plane {
    match orientation {
        2 => mirrored(plane),
        3 => {
            let mut plane = plane;
            plane.samples.reverse();
            plane
        }
        4 => upside_down(&plane),
        5 => transposed(&plane),
        6 => transposed(&upside_down(&plane)),
        7 => upside_down(&mirrored(transposed(&plane))),
        8 => upside_down(&transposed(&plane)),
        _ => plane,
    }
}

/// Left becomes right.
fn mirrored(mut plane: Plane) -> Plane {
    if plane.width > 0 {
        plane.samples.chunks_exact_mut(plane.width).for_each(<[u8]>::reverse);
    }
    plane
}

/// Top becomes bottom.
fn upside_down(plane: &Plane) -> Plane {
    let mut samples = Vec::with_capacity(plane.samples.len());
    (0..plane.height).rev().for_each(|y| samples.extend_from_slice(plane.row(y)));
    Plane { width: plane.width, height: plane.height, samples }
}

/// Rows become columns, in tiles that stay in the cache.
fn transposed(plane: &Plane) -> Plane {
    const TILE: usize = 16;
    let mut turned = Plane::filled(plane.height, plane.width, 0);
    for top in (0..plane.height).step_by(TILE) {
        for left in (0..plane.width).step_by(TILE) {
            let (bottom, right) = ((top + TILE).min(plane.height), (left + TILE).min(plane.width));
            if bottom - top == TILE && right - left == TILE {
                let mut tile = [[0; TILE]; TILE];
                for (y, row) in tile.iter_mut().enumerate() {
                    row.copy_from_slice(&plane.samples[(top + y) * plane.width + left..][..TILE]);
                }
                for (x, nth) in (left..right).zip(0..) {
                    let column: [u8; TILE] = std::array::from_fn(|y| tile[y][nth]);
                    turned.samples[x * plane.height + top..][..TILE].copy_from_slice(&column);
                }
                continue;
            }
            for x in left..right {
                for y in top..bottom {
                    turned.samples[x * plane.height + y] = plane.samples[y * plane.width + x];
                }
            }
        }
    }
    turned
}
