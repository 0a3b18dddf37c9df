//! What to make of a picture: `resized=1024x768,q85; thumbs=192x192,q85,444`.

pub use super::encode::Subsampling;
use std::fmt;

/// One named rendition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Also the output prefix: `thumbs` stores `thumbs/<key>`.
    pub name: String,
    /// The box, in pixels, that the rendition fits inside; never enlarged.
    pub width: u32,
    pub height: u32,
    /// JPEG quality, 1 to 100, on libjpeg's scale.
    pub quality: u8,
    pub subsampling: Subsampling,
    /// Several scans: about 5 % smaller, several times dearer to code.
    pub progressive: bool,
    /// Huffman tables made for this picture: about 1 % smaller.
    pub optimized: bool,
}

/// The two renditions of the ECS reference architecture. The small one keeps all its colour
/// samples: at this size 4:2:0 shows, and costs less than a kilobyte more.
pub const DEFAULT_RENDITIONS: &str = "resized=1024x768,q85; thumbs=192x192,q85,444";

const MAX_RENDITIONS: usize = 16;
const MAX_SIDE: u32 = 65_535; // ITU-T T.81, B.2.2: sizes are 16 bits

/// Reads a list of renditions. Each mistake names the rendition and its position.
pub fn parse(list: &str) -> Result<Vec<Spec>, Vec<String>> {
    let entries: Vec<&str> = list.split(';').map(str::trim).filter(|e| !e.is_empty()).collect();
    if entries.is_empty() {
        return Err(vec![format!("no rendition is named: write one, like \"{DEFAULT_RENDITIONS}\"")]);
    }
    if entries.len() > MAX_RENDITIONS {
        return Err(vec![format!("{} renditions are more than {MAX_RENDITIONS}", entries.len())]);
    }
    let (mut specs, mut mistakes) = (Vec::<Spec>::new(), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        match parse_one(entry) {
            Ok(spec) => specs.push(spec),
            Err(why) => mistakes.push(format!("rendition {} ({entry:?}): {why}", index + 1)),
        }
    }
    mistakes.extend(collisions(&specs));
    if mistakes.is_empty() { Ok(specs) } else { Err(mistakes) }
}

fn parse_one(entry: &str) -> Result<Spec, String> {
    let (name, options) =
        entry.split_once('=').ok_or("write NAME=WIDTHxHEIGHT, like thumbs=192x192,q85,444")?;
    let name = name.trim();
    check_name(name)?;
    let mut options = options.split(',').map(str::trim);
    let (width, height) = parse_box(options.next().unwrap_or_default())?;
    let mut spec = Spec {
        name: name.to_owned(),
        width,
        height,
        quality: 85,
        subsampling: Subsampling::S420,
        progressive: false,
        optimized: false,
    };
    for option in options {
        match option {
            "444" => spec.subsampling = Subsampling::S444,
            "422" => spec.subsampling = Subsampling::S422,
            "420" => spec.subsampling = Subsampling::S420,
            "progressive" => spec.progressive = true,
            "optimized" => spec.optimized = true,
            _ => spec.quality = parse_quality(option)?,
        }
    }
    Ok(spec)
}

/// Names become key prefixes and file names: nothing that could leave a folder.
fn check_name(name: &str) -> Result<(), String> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    let part = |p: &str| !p.is_empty() && p != "." && p != "..";
    if name.len() <= 100 && name.bytes().all(fine) && name.split('/').all(part) {
        return Ok(());
    }
    Err("the name is the output prefix: letters, digits, - _ . and inner / only, like thumbs".into())
}

fn parse_box(text: &str) -> Result<(u32, u32), String> {
    let side = |s: &str| s.parse().ok().filter(|n| (1..=MAX_SIDE).contains(n));
    text.split_once('x')
        .and_then(|(w, h)| Some((side(w)?, side(h)?)))
        .ok_or_else(|| format!("{text:?} is not a box: write WIDTHxHEIGHT, 1 to {MAX_SIDE}, like 1024x768"))
}

fn parse_quality(option: &str) -> Result<u8, String> {
    let quality = option.strip_prefix('q').and_then(|q| q.parse().ok()).filter(|q| (1..=100).contains(q));
    quality.ok_or_else(|| format!("{option:?} is none of q1 to q100, 444, 422, 420, progressive, optimized"))
}

/// Two renditions may never write the same key: equal names do, and so do `a` and `a/b`
/// (key `b/x` of the first is key `x` of the second).
fn collisions(specs: &[Spec]) -> Vec<String> {
    let mut found = Vec::new();
    for (i, one) in specs.iter().enumerate() {
        for other in &specs[i + 1..] {
            let (a, b) = (format!("{}/", one.name), format!("{}/", other.name));
            if a.starts_with(&b) || b.starts_with(&a) {
                found.push(format!(
                    "renditions {:?} and {:?} collide: both can write the same key; rename one",
                    one.name, other.name
                ));
            }
        }
    }
    found
}

impl fmt::Display for Spec {
    /// The canonical form, every option spelt out: also what the settings hash is made of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sampling = match self.subsampling {
            Subsampling::S444 => "444",
            Subsampling::S422 => "422",
            Subsampling::S420 => "420",
        };
        write!(f, "{}={}x{},q{},{sampling}", self.name, self.width, self.height, self.quality)?;
        if self.progressive {
            f.write_str(",progressive")?;
        }
        if self.optimized {
            f.write_str(",optimized")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_reference_architecture() {
        let specs = parse(DEFAULT_RENDITIONS).unwrap();
        let shown: Vec<String> = specs.iter().map(Spec::to_string).collect();
        assert_eq!(shown, ["resized=1024x768,q85,420", "thumbs=192x192,q85,444"]);
    }

    #[test]
    fn options_come_in_any_order_and_trailing_semicolons_are_fine() {
        let specs = parse("hero = 2048x2048 , progressive, q88 ,422;").unwrap();
        assert_eq!(specs[0].to_string(), "hero=2048x2048,q88,422,progressive");
    }

    #[test]
    fn every_bad_rendition_is_named_with_its_position() {
        let mistakes = parse("ok=10x10; bad=10; worse=10x10,q101; ../up=5x5; none").unwrap_err();
        assert_eq!(mistakes.len(), 4);
        for (mistake, start) in
            mistakes.iter().zip(["rendition 2 ", "rendition 3 ", "rendition 4 ", "rendition 5 "])
        {
            assert!(mistake.starts_with(start), "{mistake}");
        }
    }

    #[test]
    fn names_that_can_write_the_same_key_are_refused() {
        for list in ["a=1x1;a=2x2", "a=1x1;a/b=2x2", "a/b=1x1;a=2x2"] {
            assert!(parse(list).unwrap_err()[0].contains("collide"), "{list}");
        }
        assert!(parse("a=1x1;ab=2x2").is_ok());
    }

    #[test]
    fn an_empty_list_says_what_to_write() {
        assert!(parse(" ; ").unwrap_err()[0].contains("resized=1024x768"));
    }
}
