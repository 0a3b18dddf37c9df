//! Values of `--secret-env`, resolved here and nowhere else.

#[cfg(feature = "commands")]
use crate::aws;
use crate::aws::Clients;
#[cfg(feature = "commands")]
use crate::command::secret::{Place, place};
use crate::error::Printable;

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoSecret {
    /// It is not there, or it is none.
    Never(String),
    /// It may not be read, or not now.
    Now(String),
}

/// What a name stands for.
#[cfg(feature = "commands")]
pub async fn resolve(clients: &Clients, name: &str) -> Result<String, NoSecret> {
    let shown = Printable(name).to_string();
    let (place, region) = place(name).map_err(|why| NoSecret::Never(format!("secret {shown} {why}")))?;
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
    let shown = Printable(name);
    Err(NoSecret::Never(format!("secret {shown}: this program was built without the feature `commands`")))
}
