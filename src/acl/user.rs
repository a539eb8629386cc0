//! One user: whether they may come in, with which passwords, and what they may do then.

use super::digest::Digest;
use super::error::RuleError;
use super::selector::{Access, Denial, Origin, Selector, before_nul};

/// What channels a user may use before their rules say so: `acl-pubsub-default`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PubsubDefault {
    /// `allchannels`
    AllChannels,
    /// `resetchannels`
    #[default]
    ResetChannels,
}

/// Whether payloads of RESTORE are checked. Means nothing to a Sentinel; kept for the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sanitize {
    Always,
    Never,
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    enabled: bool,
    nopass: bool,
    sanitize: Option<Sanitize>,
    passwords: Vec<Digest>,
    root: Selector,
    /// What `(...)` permits besides.
    others: Vec<Selector>,
    pubsub: PubsubDefault,
}

impl User {
    /// A new one, who may not come in: `off -@all`.
    pub fn new(pubsub: PubsubDefault) -> User {
        User {
            enabled: false,
            nopass: false,
            sanitize: None,
            passwords: Vec::new(),
            root: Selector::with_all_channels(pubsub == PubsubDefault::AllChannels),
            others: Vec::new(),
            pubsub,
        }
    }

    /// The user `default` before anybody said anything: `on nopass ~* &* +@all`.
    pub fn unrestricted(pubsub: PubsubDefault) -> User {
        let mut user = User::new(pubsub);
        for rule in ["on", "nopass", "~*", "&*", "+@all"] {
            user.apply(rule.as_bytes(), Origin::File).expect("rules of stock");
        }
        user
    }

    /// Applies one rule, a selector in parentheses included. Words are read in any case. Nothing changes on an error.
    pub fn apply(&mut self, rule: &[u8], origin: Origin) -> Result<(), RuleError> {
        match before_nul(rule).to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"nopass" => (self.nopass, self.passwords) = (true, Vec::new()),
            b"resetpass" => (self.nopass, self.passwords) = (false, Vec::new()),
            b"sanitize-payload" => self.sanitize = Some(Sanitize::Always),
            b"skip-sanitize-payload" => self.sanitize = Some(Sanitize::Never),
            b"clearselectors" => self.others.clear(),
            b"reset" => *self = User { sanitize: Some(Sanitize::Always), ..User::new(self.pubsub) },
            _ => match rule {
                [b'>', password @ ..] => self.add_password(Digest::of(password)),
                [b'#', digest @ ..] => self.add_password(Digest::parse(digest).ok_or(RuleError::BadDigest)?),
                [b'<', password @ ..] => return self.remove_password(&Digest::of(password)),
                [b'!', digest @ ..] => {
                    return self.remove_password(&Digest::parse(digest).ok_or(RuleError::BadDigest)?);
                }
                [b'(', rules @ .., b')'] => self.others.push(self.selector(rules, origin)?),
                rule => return self.root.apply(rule, origin),
            },
        }
        Ok(())
    }

    /// Deviates in one thing: quotes are refused, which stock reads as such here and prints as they are.
    fn selector(&self, rules: &[u8], origin: Origin) -> Result<Selector, RuleError> {
        if rules.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
            return Err(RuleError::Syntax);
        }
        let mut selector = Selector::with_all_channels(self.pubsub == PubsubDefault::AllChannels);
        for rule in rules.split(u8::is_ascii_whitespace).filter(|rule| !rule.is_empty()) {
            selector.apply(rule, origin)?;
        }
        Ok(selector)
    }

    fn add_password(&mut self, digest: Digest) {
        self.nopass = false;
        if !self.passwords.contains(&digest) {
            self.passwords.push(digest);
        }
    }

    fn remove_password(&mut self, digest: &Digest) -> Result<(), RuleError> {
        let known = self.passwords.len();
        self.passwords.retain(|password| password != digest);
        if self.passwords.len() < known { Ok(()) } else { Err(RuleError::NoSuchPassword) }
    }

    /// Replaces all passwords by one, or by none at all when it is empty: what `requirepass` does to `default`.
    pub fn require(&mut self, password: &[u8]) {
        self.passwords.clear();
        self.nopass = password.is_empty();
        if !password.is_empty() {
            self.add_password(Digest::of(password));
        }
    }

    /// Whether a client may come in without a password: `on nopass`.
    pub fn is_open(&self) -> bool {
        self.enabled && self.nopass
    }

    /// `nopass`: any password will do, and none is needed.
    pub fn needs_no_password(&self) -> bool {
        self.nopass
    }

    /// Whether this is one of the passwords. They are all compared, and in constant time.
    pub fn has_password(&self, password: &[u8]) -> bool {
        let given = Digest::of(password);
        self.passwords.iter().fold(false, |found, known| known.matches(&given) | found)
    }

    /// Whether the password opens.
    pub fn admits(&self, password: &[u8]) -> bool {
        self.enabled & (self.has_password(password) | self.nopass)
    }

    /// Whether a request is permitted. It is refused for what came closest to being permitted.
    pub fn check<T: AsRef<[u8]>>(&self, access: &Access<'_, T>) -> Result<(), Denial> {
        let mut closest = match self.root.check(access) {
            Ok(()) => return Ok(()),
            Err(denial) => denial,
        };
        for selector in &self.others {
            match selector.check(access) {
                Ok(()) => return Ok(()),
                Err(denial) => closest = closest.max(denial),
            }
        }
        Err(closest)
    }

    /// Whether a subscription may stay that was made when this user had other rules. Which commands are permitted does
    /// not count, as in stock.
    pub fn permits_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        self.selectors().any(|selector| selector.permits_channel(name, is_pattern))
    }

    /// Whether any channel of `before` is not permitted any more: then subscriptions are looked at.
    pub fn has_fewer_channels(&self, before: &User) -> bool {
        let patterns = |selector: &Selector| selector.channel_patterns().map(<[Vec<u8>]>::to_vec);
        let Some(mine) = self.selectors().map(patterns).collect::<Option<Vec<_>>>() else { return false };
        let mine = mine.concat();
        match before.selectors().map(patterns).collect::<Option<Vec<_>>>() {
            None => true,
            Some(theirs) => theirs.concat().iter().any(|pattern| !mine.contains(pattern)),
        }
    }

    /// What the user has of their own.
    pub fn root(&self) -> &Selector {
        &self.root
    }

    /// What they have besides.
    pub fn others(&self) -> &[Selector] {
        &self.others
    }

    fn selectors(&self) -> impl Iterator<Item = &Selector> {
        [&self.root].into_iter().chain(&self.others)
    }

    /// `on` or `off`, `nopass`, `sanitize-payload` or its opposite.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.enabled { "on" } else { "off" }];
        flags.extend(self.nopass.then_some("nopass"));
        flags.extend(self.sanitize.map(|sanitize| match sanitize {
            Sanitize::Always => "sanitize-payload",
            Sanitize::Never => "skip-sanitize-payload",
        }));
        flags
    }

    /// In the order in which they were added.
    pub fn passwords(&self) -> &[Digest] {
        &self.passwords
    }

    /// All rules in the form in which stock prints them, one word each; those of a selector are several, with
    /// parentheses at the first and at the last.
    pub fn rules(&self) -> Vec<Vec<u8>> {
        let mut rules: Vec<Vec<u8>> = self.flags().into_iter().map(|flag| flag.as_bytes().to_vec()).collect();
        rules.extend(self.passwords.iter().map(|digest| format!("#{digest}").into_bytes()));
        rules.extend(self.root.rules());
        for selector in &self.others {
            let mut inner = selector.rules();
            inner[0].insert(0, b'(');
            inner.last_mut().expect("it has rules about commands").push(b')');
            rules.extend(inner);
        }
        rules
    }
}
