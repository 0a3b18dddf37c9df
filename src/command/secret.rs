//! What a cell of `--secret-env` may name. Submitting and running ask the same, or rows would be queued that no worker
//! takes.

/// Where a name leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    Parameter(&'a str),
    Secret(&'a str),
}

/// More than any name or ARN has.
const MAX: usize = 2048;

/// An ARN says which service and region; a name alone is a parameter's.
///
/// # Errors
///
/// It is neither. The value is not told: people put the secret itself there by mistake.
pub fn place(name: &str) -> Result<(Place<'_>, Option<&str>), String> {
    let fits = |more: &[u8]| name.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b));
    let parts: Vec<&str> = name.splitn(6, ':').collect();
    match parts.as_slice() {
        _ if name.len() > MAX => {}
        ["arn", _, "secretsmanager", region, _, rest] if rest.starts_with("secret:") && fits(b"/_+=.@-:") => {
            return Ok((Place::Secret(name), Some(region)));
        }
        ["arn", _, "ssm", region, _, rest] if rest.starts_with("parameter/") && fits(b"/_.-:") => {
            return Ok((Place::Parameter(name), Some(region)));
        }
        ["arn", ..] => {
            return Err("is the ARN of neither an SSM parameter nor a Secrets Manager secret".into());
        }
        _ if fits(b".-_/:") && !name.is_empty() => return Ok((Place::Parameter(name), None)),
        _ => {}
    }
    Err("is no name or ARN of an SSM parameter and no ARN of a Secrets Manager secret (what KMS has encrypted, as \
         ecsub takes it, is not read here: put the value into a parameter)"
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_arns_are_told_apart() {
        let secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db+1@x-AbCdEf";
        assert_eq!(place(secret), Ok((Place::Secret(secret), Some("eu-west-1"))));
        let parameter = "arn:aws:ssm:us-east-1:123456789012:parameter/app/token";
        assert_eq!(place(parameter), Ok((Place::Parameter(parameter), Some("us-east-1"))));
        for name in ["/app/token", "token", "/app/token:3"] {
            assert_eq!(place(name), Ok((Place::Parameter(name), None)));
        }
        let base64 = "AQICAHh+zVQ2/Rw5cA==";
        for wrong in ["arn:aws:s3:::bucket", "", "a b", "$(id)", base64, &"a".repeat(MAX + 1)] {
            let why = place(wrong).unwrap_err();
            assert!(wrong.is_empty() || !why.contains(wrong), "{why}");
        }
    }
}
