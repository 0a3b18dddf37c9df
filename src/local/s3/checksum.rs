//! Digests of what is stored: MD5 for the ETag, and the one checksum that S3 keeps with an object.

use std::fmt::Write as _;

use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::{S3Result, dto, s3_error};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

/// What is computed when the writer asks for nothing.
pub const DEFAULT: Algorithm = Algorithm::Crc64Nvme;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    pub algorithm: Algorithm,
    /// Base64; of a composite one, `-` and the number of parts follow.
    pub value: String,
    /// A checksum of the checksums of the parts.
    #[serde(default)]
    pub composite: bool,
}

impl Algorithm {
    const ALL: [Algorithm; 5] =
        [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme, Algorithm::Sha1, Algorithm::Sha256];

    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    pub fn header(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "x-amz-checksum-crc32",
            Algorithm::Crc32c => "x-amz-checksum-crc32c",
            Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Sha1 => "x-amz-checksum-sha1",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The one a request names, such as `CRC32`.
    pub fn asked(named: Option<&dto::ChecksumAlgorithm>) -> S3Result<Option<Algorithm>> {
        let Some(name) = named.map(dto::ChecksumAlgorithm::as_str) else { return Ok(None) };
        let found = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name));
        found.map(Some).ok_or_else(|| s3_error!(InvalidRequest, "unknown checksum algorithm {name:?}"))
    }

    /// `x-amz-checksum-crc32`, as `x-amz-trailer` names it.
    pub fn of_header(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(name.trim()))
    }

    /// The checksum of a few bytes, in base64.
    pub fn of(self, bytes: &[u8]) -> String {
        let mut digest = Digest::new(self);
        digest.update(bytes);
        digest.finish().checksum.value
    }
}

impl Checksum {
    pub fn kind(&self) -> dto::ChecksumType {
        dto::ChecksumType::from_static(match self.composite {
            true => dto::ChecksumType::COMPOSITE,
            false => dto::ChecksumType::FULL_OBJECT,
        })
    }

    /// The value in the field of its algorithm, for answers.
    pub fn fields(&self) -> dto::Checksum {
        let mut fields = dto::Checksum::default();
        let field = match self.algorithm {
            Algorithm::Crc32 => &mut fields.checksum_crc32,
            Algorithm::Crc32c => &mut fields.checksum_crc32c,
            Algorithm::Crc64Nvme => &mut fields.checksum_crc64nvme,
            Algorithm::Sha1 => &mut fields.checksum_sha1,
            Algorithm::Sha256 => &mut fields.checksum_sha256,
        };
        *field = Some(self.value.clone());
        fields
    }
}

/// Copies the checksum into an answer that has a field for each algorithm.
macro_rules! answer_checksum {
    ($answer:expr, $checksum:expr) => {{
        let fields = $checksum.fields();
        $answer.checksum_crc32 = fields.checksum_crc32;
        $answer.checksum_crc32c = fields.checksum_crc32c;
        $answer.checksum_crc64nvme = fields.checksum_crc64nvme;
        $answer.checksum_sha1 = fields.checksum_sha1;
        $answer.checksum_sha256 = fields.checksum_sha256;
    }};
}
pub(super) use answer_checksum;

/// The checksums a request states, of any input that has a field for each algorithm.
macro_rules! stated_checksums {
    ($input:expr) => {
        [
            (super::checksum::Algorithm::Crc32, $input.checksum_crc32.take()),
            (super::checksum::Algorithm::Crc32c, $input.checksum_crc32c.take()),
            (super::checksum::Algorithm::Crc64Nvme, $input.checksum_crc64nvme.take()),
            (super::checksum::Algorithm::Sha1, $input.checksum_sha1.take()),
            (super::checksum::Algorithm::Sha256, $input.checksum_sha256.take()),
        ]
        .into_iter()
        .find_map(|(algorithm, value)| value.map(|value| (algorithm, value)))
    };
}
pub(super) use stated_checksums;

/// Digests of bytes that pass by.
pub struct Digest {
    size: u64,
    md5: Md5,
    hasher: ChecksumHasher,
    algorithm: Algorithm,
}

#[derive(Debug)]
pub struct Digested {
    pub size: u64,
    pub md5: [u8; 16],
    pub checksum: Checksum,
}

impl Digest {
    pub fn new(algorithm: Algorithm) -> Digest {
        let mut hasher = ChecksumHasher::default();
        match algorithm {
            Algorithm::Crc32 => hasher.crc32 = Some(Default::default()),
            Algorithm::Crc32c => hasher.crc32c = Some(Default::default()),
            Algorithm::Crc64Nvme => hasher.crc64nvme = Some(Default::default()),
            Algorithm::Sha1 => hasher.sha1 = Some(Default::default()),
            Algorithm::Sha256 => hasher.sha256 = Some(Default::default()),
        }
        Digest { size: 0, md5: Md5::new(), hasher, algorithm }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.md5.update(bytes);
        self.hasher.update(bytes);
    }

    pub fn finish(self) -> Digested {
        let sums = self.hasher.finalize();
        let value = match self.algorithm {
            Algorithm::Crc32 => sums.checksum_crc32,
            Algorithm::Crc32c => sums.checksum_crc32c,
            Algorithm::Crc64Nvme => sums.checksum_crc64nvme,
            Algorithm::Sha1 => sums.checksum_sha1,
            Algorithm::Sha256 => sums.checksum_sha256,
        };
        let value = value.expect("the hasher was made for this algorithm");
        let checksum = Checksum { algorithm: self.algorithm, value, composite: false };
        Digested { size: self.size, md5: self.md5.finalize(), checksum }
    }
}

impl Digested {
    /// Without quotes.
    pub fn etag(&self) -> String {
        hex(&self.md5)
    }

    /// Refuses bytes that are not what their sender says they are.
    pub fn verify(&self, content_md5: Option<&str>, checksum: Option<&str>) -> S3Result<()> {
        if let Some(stated) = content_md5 {
            let stated = base64_simd::STANDARD.decode_to_vec(stated.trim());
            let stated = stated.ok().filter(|bytes| bytes.len() == 16);
            let stated = stated
                .ok_or_else(|| s3_error!(InvalidDigest, "the Content-MD5 you specified was invalid"))?;
            if stated != self.md5 {
                return Err(s3_error!(
                    BadDigest,
                    "the Content-MD5 you specified did not match what we received"
                ));
            }
        }
        match checksum {
            Some(stated) if stated != self.checksum.value => {
                let name = self.checksum.algorithm.name();
                Err(s3_error!(BadDigest, "the {name} you specified did not match the calculated checksum"))
            }
            _ => Ok(()),
        }
    }
}

pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digested(algorithm: Algorithm) -> Digested {
        let mut digest = Digest::new(algorithm);
        digest.update(b"1234");
        digest.update(b"56789");
        digest.finish()
    }

    #[test]
    fn known_checksums_come_out() {
        assert_eq!(digested(Algorithm::Crc32).checksum.value, "y/Q5Jg==");
        assert_eq!(digested(Algorithm::Crc32c).checksum.value, "4waSgw==");
        assert_eq!(digested(Algorithm::Crc64Nvme).checksum.value, "rosUhgp5mIg=");
        assert_eq!(digested(Algorithm::Crc32).etag(), "25f9e794323b453885f5181f1b624d0b");
    }

    #[test]
    fn a_wrong_digest_is_refused() {
        let ours = digested(Algorithm::Crc32);
        assert!(ours.verify(None, None).is_ok());
        assert!(ours.verify(Some("JfnnlDI7RTiF9RgfG2JNCw=="), Some("y/Q5Jg==")).is_ok());
        assert_eq!(ours.verify(None, Some("AAAAAA==")).unwrap_err().code(), &s3s::S3ErrorCode::BadDigest);
        assert_eq!(
            ours.verify(Some("AAAAAAAAAAAAAAAAAAAAAA=="), None).unwrap_err().code(),
            &s3s::S3ErrorCode::BadDigest
        );
        assert_eq!(ours.verify(Some("short"), None).unwrap_err().code(), &s3s::S3ErrorCode::InvalidDigest);
    }
}
