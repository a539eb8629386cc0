//! The `user default` line (config.md 4.5). This build has one user, and refuses what would narrow it in ways that it
//! does not enforce, so that it never runs more open than its file says.

use sha2::{Digest, Sha256};

/// Who may connect without naming a user.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a rule of its own in the line, and any mix is a user")]
pub struct DefaultUser {
    /// `on`: can authenticate at all.
    pub enabled: bool,
    /// `nopass`: any password will do, and none is needed.
    pub nopass: bool,
    /// SHA-256 of each password that is accepted, in the order in which they were added.
    pub passwords: Vec<[u8; 32]>,
    /// `~*`. A Sentinel has no keys; kept for the file.
    pub all_keys: bool,
    /// `&*`: may use every pub/sub channel. None otherwise.
    pub all_channels: bool,
    /// `+@all`. Always set in a user that was loaded, unless it is off.
    pub all_commands: bool,
    /// `sanitize-payload` or its opposite, where the line has it; kept for the file.
    pub sanitize: Option<&'static str>,
}

impl std::fmt::Debug for DefaultUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DefaultUser")
            .field("enabled", &self.enabled)
            .field("nopass", &self.nopass)
            .field("passwords", &self.passwords.len())
            .field("all_channels", &self.all_channels)
            .finish_non_exhaustive()
    }
}

/// What channels a user may use before its line says so: `acl-pubsub-default`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PubsubDefault {
    /// `allchannels`
    AllChannels,
    /// `resetchannels`
    ResetChannels,
}

impl DefaultUser {
    /// Nobody said anything: `on nopass ~* &* +@all`.
    pub fn open() -> DefaultUser {
        DefaultUser {
            enabled: true,
            nopass: true,
            passwords: Vec::new(),
            all_keys: true,
            all_channels: true,
            all_commands: true,
            sanitize: None,
        }
    }

    /// The same, with the password of `requirepass`.
    pub fn with_password(password: &[u8]) -> DefaultUser {
        DefaultUser { nopass: false, passwords: vec![Sha256::digest(password).into()], ..DefaultUser::open() }
    }

    /// Reads the rules of a `user default` line. The error is a text for the fatal block.
    pub fn parse(rules: &[Vec<u8>], pubsub: PubsubDefault) -> Result<DefaultUser, String> {
        let mut user = DefaultUser {
            enabled: false,
            nopass: false,
            passwords: Vec::new(),
            all_keys: false,
            all_channels: pubsub == PubsubDefault::AllChannels,
            all_commands: false,
            sanitize: None,
        };
        for rule in rules {
            user.apply(rule)?;
        }
        if user.enabled && !user.all_commands {
            return Err("This build does not restrict commands: 'user default' needs +@all, or off".to_owned());
        }
        Ok(user)
    }

    fn apply(&mut self, rule: &[u8]) -> Result<(), String> {
        match rule.to_ascii_lowercase().as_slice() {
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"nopass" => {
                self.nopass = true;
                self.passwords.clear();
            }
            b"resetpass" => {
                self.nopass = false;
                self.passwords.clear();
            }
            b"sanitize-payload" => self.sanitize = Some("sanitize-payload"),
            b"skip-sanitize-payload" => self.sanitize = Some("skip-sanitize-payload"),
            b"~*" | b"allkeys" => self.all_keys = true,
            b"&*" | b"allchannels" => self.all_channels = true,
            b"resetchannels" => self.all_channels = false,
            b"+@all" | b"allcommands" => self.all_commands = true,
            b"-@all" | b"nocommands" => self.all_commands = false,
            _ => match rule {
                [b'>', password @ ..] => self.add(Sha256::digest(password).into()),
                [b'#', digest @ ..] => {
                    let digest = parse_digest(digest).ok_or(
                        "Error in user declaration 'default': The password hash must be exactly 64 characters and \
                         contain only lowercase hexadecimal characters",
                    )?;
                    self.add(digest);
                }
                _ => {
                    let rule = String::from_utf8_lossy(rule);
                    return Err(format!("This build does not enforce the rule '{rule}' of user 'default'"));
                }
            },
        }
        Ok(())
    }

    fn add(&mut self, digest: [u8; 32]) {
        self.nopass = false;
        if !self.passwords.contains(&digest) {
            self.passwords.push(digest);
        }
    }

    /// The line that describes this user.
    pub fn print(&self) -> Vec<u8> {
        let mut words = vec!["user".to_owned(), "default".to_owned()];
        words.push(if self.enabled { "on" } else { "off" }.to_owned());
        words.extend(self.nopass.then(|| "nopass".to_owned()));
        words.extend(self.sanitize.map(str::to_owned));
        words.extend(self.passwords.iter().map(|digest| format!("#{}", print_digest(digest))));
        words.extend(self.all_keys.then(|| "~*".to_owned()));
        words.push(if self.all_channels { "&*" } else { "resetchannels" }.to_owned());
        words.push(if self.all_commands { "+@all" } else { "-@all" }.to_owned());
        words.join(" ").into_bytes()
    }
}

fn parse_digest(text: &[u8]) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 64 {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(digest)
}

fn print_digest(digest: &[u8; 32]) -> String {
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA_OF_FOO: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

    fn parse(rules: &str) -> Result<DefaultUser, String> {
        let rules: Vec<Vec<u8>> = rules.split(' ').map(|rule| rule.as_bytes().to_vec()).collect();
        DefaultUser::parse(&rules, PubsubDefault::ResetChannels)
    }

    /// config.md 139, 4.5
    #[test]
    fn passwords_are_printed_as_digests() {
        let user = parse("on sanitize-payload >foo ~* +@all").expect("supported");
        assert_eq!(
            String::from_utf8(user.print()).expect("text"),
            format!("user default on sanitize-payload #{SHA_OF_FOO} ~* resetchannels +@all")
        );
        assert_eq!(parse(&format!("on sanitize-payload #{SHA_OF_FOO} ~* +@all")), Ok(user));
        assert_eq!(DefaultUser::open().print(), b"user default on nopass ~* &* +@all");
        assert_eq!(DefaultUser::with_password(b"foo").passwords, parse("on >foo +@all").expect("supported").passwords);
    }

    #[test]
    fn a_narrower_user_is_refused() {
        assert!(parse("on nopass ~* &*").is_err());
        assert!(parse("on nopass ~* &* +@all -shutdown").is_err());
        assert!(parse("on nopass ~x &* +@all").is_err());
        assert!(parse("on #abc +@all").expect_err("bad digest").contains("64 characters"));
        let off = parse("off").expect("supported");
        let line = String::from_utf8(off.print()).expect("text");
        assert_eq!(parse(line.strip_prefix("user default ").expect("prefix")), Ok(off));
    }

    #[test]
    fn nopass_and_passwords_exclude_each_other() {
        assert!(!parse("on nopass >foo +@all").expect("supported").nopass);
        assert!(parse("on >foo nopass +@all").expect("supported").passwords.is_empty());
        assert!(parse("on >foo >foo +@all").expect("supported").passwords.len() == 1);
    }
}
