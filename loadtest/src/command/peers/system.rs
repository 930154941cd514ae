//! A system that runs already, as the command line names it.

use std::str::FromStr;

/// It speaks the protocol of safe-chat.
#[derive(Debug, Clone)]
pub(super) struct System {
    pub(super) name: String,
    pub(super) url: String,
    /// Of all processes that serve it.
    pub(super) ports: Vec<u16>,
}

impl FromStr for System {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once('=').ok_or("say NAME=URL[,PORT...]")?;
        let mut parts = rest.split(',');
        let url = parts.next().unwrap_or_default().to_owned();
        let of_url = url
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse::<u16>().ok());
        let ports = parts.map(|port| {
            port.parse::<u16>()
                .map_err(|_| format!("{port} is no port"))
        });
        let mut ports: Vec<u16> = ports.collect::<Result<_, String>>()?;
        ports.extend(of_url);
        let name = name.to_owned();
        Ok(Self { name, url, ports })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_has_a_name_an_address_and_all_its_ports() {
        let system: System = "ours=http://127.0.0.1:8080,4222".parse().unwrap();
        assert_eq!(
            (system.name.as_str(), system.url.as_str()),
            ("ours", "http://127.0.0.1:8080")
        );
        assert_eq!(system.ports, [4222, 8080]);
        assert!("ours".parse::<System>().is_err());
        assert!("ours=http://x:1,y".parse::<System>().is_err());
    }
}
