//! The types of option values, with the same text form on the command line, in the environment and
//! in the file.
//!
//! Each type knows its limits. A value that cannot work is refused where it was written, and the
//! error names the option.

use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use http::Uri;
use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Visitor};
use tidings_redis::{AddressError, Deployment};
use tracing_subscriber::EnvFilter;

/// Ten years. Longer times approach the limits of the system's clocks.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The reason why a text is not a valid value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidValue {
    /// The text has the wrong form.
    #[error("expected {0}")]
    Malformed(&'static str),
    /// The error of the crate that uses the value.
    #[error("{0}")]
    Other(String),
    /// The value is too small.
    #[error("must be at least {0}")]
    TooSmall(String),
    /// The value is too large.
    #[error("must be at most {0}")]
    TooLarge(String),
}

/// A value of an option, as written in a flag or a variable.
pub(crate) trait OptionValue: Sized {
    /// True if several values may be given, separated by commas.
    const IS_LIST: bool = false;
    /// True if the option without a value means `true`.
    const IS_SWITCH: bool = false;

    fn read(text: &OsStr) -> Result<Self, InvalidValue>;
}

impl<T: Value> OptionValue for T {
    fn read(text: &OsStr) -> Result<Self, InvalidValue> {
        text.to_str().ok_or_else(T::malformed)?.parse()
    }
}

impl<T: OptionValue> OptionValue for Vec<T> {
    const IS_LIST: bool = true;

    fn read(text: &OsStr) -> Result<Self, InvalidValue> {
        let text = text.to_str().ok_or(InvalidValue::Malformed("a list"))?;
        text.split(',').map(|one| T::read(one.as_ref())).collect()
    }
}

impl OptionValue for String {
    fn read(text: &OsStr) -> Result<Self, InvalidValue> {
        let text = text.to_str().ok_or(InvalidValue::Malformed("text"))?;
        Ok(text.to_owned())
    }
}

impl OptionValue for PathBuf {
    fn read(text: &OsStr) -> Result<Self, InvalidValue> {
        Ok(text.into())
    }
}

impl OptionValue for bool {
    const IS_SWITCH: bool = true;

    fn read(text: &OsStr) -> Result<Self, InvalidValue> {
        match text.to_str() {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            _ => Err(InvalidValue::Malformed("true or false")),
        }
    }
}

/// A type that can be read from text, and in a file also from a whole number.
pub(crate) trait Value: FromStr<Err = InvalidValue> {
    /// The expected form, with an example.
    const EXPECTED: &'static str;

    fn malformed() -> InvalidValue {
        InvalidValue::Malformed(Self::EXPECTED)
    }
}

struct Text<T>(PhantomData<T>);

impl<T: Value> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

macro_rules! deserialize_from_text {
    ($($type:ident $(<const $bound:ident>)?),* $(,)?) => {$(
        impl<'de $(, const $bound: u64)?> Deserialize<'de> for $type $(<$bound>)? {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Text(PhantomData))
            }
        }
    )*};
}

deserialize_from_text!(Count<const LEAST>, Size<const LEAST>, Time<const LEAST>, Collector, Listen, Log, LogFormat, Origin, AuthKind, JwtAlgorithm, Network, RedisUrl, SyncMode);

/// The format of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object per line.
    Json,
}

impl Value for LogFormat {
    const EXPECTED: &'static str = "text or json";
}

impl FromStr for LogFormat {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(Self::malformed()),
        }
    }
}

/// The address of the collector of spans.
#[derive(Debug, Clone)]
pub(crate) struct Collector(Uri);

impl Value for Collector {
    const EXPECTED: &'static str = "an address such as http://127.0.0.1:4318";
}

impl FromStr for Collector {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let uri: Uri = text.parse().map_err(|_| Self::malformed())?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(Self(uri)),
            _ => Err(Self::malformed()),
        }
    }
}

impl Collector {
    /// Returns the address that receives spans. Without a path, it uses the specification's path.
    pub(crate) fn traces(&self) -> String {
        let text = self.0.to_string();
        match self.0.path() {
            "" | "/" => format!("{}/v1/traces", text.trim_end_matches('/')),
            _ => text,
        }
    }
}

/// The address of Redis.
#[derive(Debug, Clone)]
pub(crate) struct RedisUrl(pub(crate) Deployment);

impl Value for RedisUrl {
    const EXPECTED: &'static str = "an address such as redis://127.0.0.1:6379";
}

impl FromStr for RedisUrl {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        text.parse()
            .map(Self)
            .map_err(|error: AddressError| InvalidValue::Other(error.to_string()))
    }
}

/// A count of at least `LEAST`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count<const LEAST: u64>(u64);

impl<const LEAST: u64> Count<LEAST> {
    /// Returns the number.
    pub(crate) fn get(self) -> u64 {
        self.0
    }

    /// Returns the number as `usize`, or the largest `usize`.
    pub(crate) fn to_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<const LEAST: u64> Value for Count<LEAST> {
    const EXPECTED: &'static str = "a whole number such as 1000";
}

impl<const LEAST: u64> FromStr for Count<LEAST> {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let count = text.parse().map_err(|_| Self::malformed())?;
        if count < LEAST {
            return Err(InvalidValue::TooSmall(LEAST.to_string()));
        }
        Ok(Self(count))
    }
}

/// A number of bytes, at least `LEAST`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size<const LEAST: u64>(u64);

impl<const LEAST: u64> Size<LEAST> {
    /// Returns the number.
    pub(crate) fn get(self) -> u64 {
        self.0
    }

    /// Returns the number as `usize`, or the largest `usize`.
    pub(crate) fn to_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<const LEAST: u64> Value for Size<LEAST> {
    const EXPECTED: &'static str = "a size such as 256KiB, 64KB or 1048576 (bytes)";
}

impl<const LEAST: u64> FromStr for Size<LEAST> {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let size: ByteSize = text.parse().map_err(|_| Self::malformed())?;
        if size.as_u64() < LEAST {
            return Err(InvalidValue::TooSmall(
                ByteSize(LEAST).display().iec().to_string(),
            ));
        }
        Ok(Self(size.as_u64()))
    }
}

/// A duration, at least `LEAST` milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time<const LEAST: u64>(Duration);

impl<const LEAST: u64> Time<LEAST> {
    /// Returns the duration.
    pub(crate) fn get(self) -> Duration {
        self.0
    }
}

impl<const LEAST: u64> Value for Time<LEAST> {
    const EXPECTED: &'static str = "a time with its unit such as 250ms, 25s, 5m or 1h";
}

impl<const LEAST: u64> FromStr for Time<LEAST> {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let time = humantime::parse_duration(text).map_err(|_| Self::malformed())?;
        let least = Duration::from_millis(LEAST);
        if time < least {
            return Err(InvalidValue::TooSmall(
                humantime::format_duration(least).to_string(),
            ));
        }
        if time > LONGEST {
            return Err(InvalidValue::TooLarge("3650d".to_owned()));
        }
        Ok(Self(time))
    }
}

/// The time at which stored data is written to disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SyncMode(pub(crate) tidings_store::Sync);

impl Value for SyncMode {
    const EXPECTED: &'static str =
        "every-commit, interval, interval:MS (1 to 60000 milliseconds) or os";
}

impl FromStr for SyncMode {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        text.parse().map(Self).map_err(|_| Self::malformed())
    }
}

/// The address to listen on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listen(pub(crate) SocketAddr);

impl Value for Listen {
    const EXPECTED: &'static str =
        "an address and a port such as 127.0.0.1:8000, [::1]:8000 or 0.0.0.0:0";
}

impl FromStr for Listen {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        text.parse().map(Self).map_err(|_| Self::malformed())
    }
}

/// The filter of log lines.
#[derive(Debug, Clone)]
pub(crate) struct Log(String);

impl Log {
    pub(crate) fn filter(&self) -> EnvFilter {
        EnvFilter::new(&self.0)
    }
}

impl Default for Log {
    fn default() -> Self {
        Self("info,hyper=warn".to_owned())
    }
}

impl Value for Log {
    const EXPECTED: &'static str = "a log filter such as `info,hyper=warn` or `tidings_bus=debug`";
}

impl FromStr for Log {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match EnvFilter::try_new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(Self::malformed()),
        }
    }
}

/// The web pages that may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// All pages.
    Any,
    /// The pages of one origin.
    One(String),
}

impl Value for Origin {
    const EXPECTED: &'static str =
        "allow-origin as `*` or as https://app.example: no path, no slash at the end";
}

impl FromStr for Origin {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text == "*" {
            return Ok(Self::Any);
        }
        // A browser sends only scheme, host and port (RFC 6454 §7). An entry with anything else
        // would never match.
        let uri: http::Uri = text.parse().map_err(|_| Self::malformed())?;
        match (uri.scheme_str(), uri.authority()) {
            (Some(scheme), Some(authority)) if text == format!("{scheme}://{authority}") => {
                Ok(Self::One(text.to_owned()))
            }
            _ => Err(Self::malformed()),
        }
    }
}

/// The kind of authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthKind {
    /// No authentication.
    None,
    /// JSON Web Tokens.
    Jwt,
    /// API keys.
    Keys,
}

impl Value for AuthKind {
    const EXPECTED: &'static str = "none, jwt or keys";
}

impl FromStr for AuthKind {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "none" => Ok(Self::None),
            "jwt" => Ok(Self::Jwt),
            "keys" => Ok(Self::Keys),
            _ => Err(Self::malformed()),
        }
    }
}

/// A network: a range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network(pub(crate) IpNet);

impl Value for Network {
    const EXPECTED: &'static str = "a network such as 10.0.0.0/8 or fd00::/8, or one address";
}

impl FromStr for Network {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let network = text.parse::<IpNet>();
        network
            .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
            .map(|network| Self(network.trunc()))
            .map_err(|_| Self::malformed())
    }
}

/// The signature algorithm of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JwtAlgorithm(pub(crate) tidings_auth::Algorithm);

impl Value for JwtAlgorithm {
    const EXPECTED: &'static str = "HS256, RS256, ES256 or EdDSA";
}

impl FromStr for JwtAlgorithm {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        text.parse().map(Self).map_err(|_| Self::malformed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_both_kinds() {
        for (text, bytes) in [("256KiB", 262_144), ("64KB", 64_000), ("1024", 1_024)] {
            assert_eq!(text.parse::<Size<0>>().unwrap().to_usize(), bytes, "{text}");
        }
        for wrong in ["", "KiB", "1 parsec", "-1", "1e3"] {
            assert!(wrong.parse::<Size<0>>().is_err(), "{wrong}");
        }
        let error = "1".parse::<Size<1_024>>().unwrap_err();
        assert_eq!(error.to_string(), "must be at least 1.0 KiB");
    }

    #[test]
    fn times_need_a_unit() {
        for (text, ms) in [
            ("250ms", 250),
            ("25s", 25_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
        ] {
            let time = text.parse::<Time<0>>().unwrap().get();
            assert_eq!(time, Duration::from_millis(ms), "{text}");
        }
        for wrong in ["", "25", "-1s", "11y", "99999999999999999y"] {
            assert!(wrong.parse::<Time<0>>().is_err(), "{wrong}");
        }
        let error = "9ms".parse::<Time<10>>().unwrap_err();
        assert_eq!(error.to_string(), "must be at least 10ms");
    }

    #[test]
    fn counts_are_whole_and_bounded() {
        assert_eq!("7".parse::<Count<1>>().unwrap().get(), 7);
        for wrong in ["0", "-1", "1.5", "many", "99999999999999999999"] {
            assert!(wrong.parse::<Count<1>>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn origins_are_what_a_browser_sends() {
        assert_eq!("*".parse::<Origin>().unwrap(), Origin::Any);
        for right in [
            "https://app.example",
            "http://localhost:5173",
            "http://[::1]:80",
        ] {
            assert!(right.parse::<Origin>().is_ok(), "{right}");
        }
        for wrong in [
            "",
            "app.example",
            "https://app.example/",
            "https://a.example/x",
            "null",
        ] {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong}");
        }
    }
}
