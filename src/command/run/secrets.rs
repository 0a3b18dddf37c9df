//! Values of `--secret-env`, resolved here and nowhere else.

use crate::aws::{self, Clients};
use crate::error::Printable;

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoSecret {
    /// It is not there, or it is none.
    Never(String),
    /// It may not be read, or not now.
    Now(String),
}

/// Where a name leads.
#[cfg_attr(not(feature = "commands"), allow(dead_code))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place<'a> {
    Parameter(&'a str),
    Secret(&'a str),
}

/// An ARN says which service and region; a name alone is a parameter's.
fn place(name: &str) -> Result<(Place<'_>, Option<&str>), String> {
    let parts: Vec<&str> = name.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", _, "secretsmanager", region, _, rest] if rest.starts_with("secret:") => {
            Ok((Place::Secret(name), Some(region)))
        }
        ["arn", _, "ssm", region, _, rest] if rest.starts_with("parameter/") => {
            Ok((Place::Parameter(name), Some(region)))
        }
        ["arn", ..] => Err("it is the ARN of neither a parameter nor a secret".into()),
        _ if name.chars().all(|c| c.is_ascii_alphanumeric() || ".-_/:".contains(c)) && !name.is_empty() => {
            Ok((Place::Parameter(name), None))
        }
        _ => Err("it is no name of a parameter".into()),
    }
}

/// What a name stands for.
#[cfg(feature = "commands")]
pub async fn resolve(clients: &Clients, name: &str) -> Result<String, NoSecret> {
    let shown = Printable(name).to_string();
    let (place, region) = place(name).map_err(|why| NoSecret::Never(format!("secret {shown}: {why}")))?;
    let told = |code: Option<&str>, why: String| {
        let line = format!("cannot read secret {shown}: {why}");
        match code {
            Some("ParameterNotFound" | "ParameterVersionNotFound" | "ResourceNotFoundException") => {
                NoSecret::Never(line)
            }
            Some(code) if code.contains("AccessDenied") => NoSecret::Now(format!(
                "{line} (allow ssm:GetParameter or secretsmanager:GetSecretValue, and kms:Decrypt on its key, \
                 to the worker's role)"
            )),
            _ => NoSecret::Now(line),
        }
    };
    match place {
        Place::Parameter(name) => {
            let mut config = aws_sdk_ssm::config::Builder::from(&clients.config);
            config.set_region(region.map(|r| aws_config::Region::new(r.to_owned())).or(clients.region()));
            let get = aws_sdk_ssm::Client::from_conf(config.build()).get_parameter();
            let answer = get.name(name).with_decryption(true).send().await;
            let answer = answer.map_err(|e| told(aws::code(&e), aws::explain(&e)))?;
            answer.parameter.and_then(|p| p.value)
        }
        Place::Secret(name) => {
            let mut config = aws_sdk_secretsmanager::config::Builder::from(&clients.config);
            config.set_region(region.map(|r| aws_config::Region::new(r.to_owned())).or(clients.region()));
            let get = aws_sdk_secretsmanager::Client::from_conf(config.build()).get_secret_value();
            let answer = get.secret_id(name).send().await;
            let answer = answer.map_err(|e| told(aws::code(&e), aws::explain(&e)))?;
            answer.secret_string
        }
    }
    .ok_or_else(|| NoSecret::Never(format!("secret {shown} holds no text")))
}

#[cfg(not(feature = "commands"))]
pub async fn resolve(_clients: &Clients, name: &str) -> Result<String, NoSecret> {
    let _ = place(name);
    let shown = Printable(name);
    Err(NoSecret::Never(format!("secret {shown}: this program was built without the feature `commands`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_arns_are_told_apart() {
        let secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbCdEf";
        assert_eq!(place(secret), Ok((Place::Secret(secret), Some("eu-west-1"))));
        let parameter = "arn:aws:ssm:us-east-1:123456789012:parameter/app/token";
        assert_eq!(place(parameter), Ok((Place::Parameter(parameter), Some("us-east-1"))));
        for name in ["/app/token", "token", "/app/token:3"] {
            assert_eq!(place(name), Ok((Place::Parameter(name), None)));
        }
        for wrong in ["arn:aws:s3:::bucket", "", "a b", "$(id)"] {
            assert!(place(wrong).is_err(), "{wrong:?}");
        }
    }
}
