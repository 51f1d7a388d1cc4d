//! Serde for types that are text on the wire: `Display` writes them and `FromStr` reads them.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de;

/// Reads a string and passes it to the type's `FromStr`.
pub(crate) struct TextVisitor<T> {
    expecting: &'static str,
    output: PhantomData<T>,
}

impl<T> TextVisitor<T> {
    pub(crate) fn new(expecting: &'static str) -> Self {
        Self {
            expecting,
            output: PhantomData,
        }
    }
}

impl<T> de::Visitor<'_> for TextVisitor<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Implements `Deserialize` through `FromStr`, and `Serialize` through `Display`. If the type has
/// its text ready in `as_str`, or lends it through `with_text`, `Serialize` uses that instead.
macro_rules! text_serde {
    ($type:ty, $expecting:literal) => {
        $crate::text::text_serde!(@ $type, $expecting, |value, serializer| {
            serializer.collect_str(value)
        });
    };
    ($type:ty, $expecting:literal, as_str) => {
        $crate::text::text_serde!(@ $type, $expecting, |value, serializer| {
            serializer.serialize_str(value.as_str())
        });
    };
    ($type:ty, $expecting:literal, with_text) => {
        $crate::text::text_serde!(@ $type, $expecting, |value, serializer| {
            value.with_text(|text| serializer.serialize_str(text))
        });
    };
    (@ $type:ty, $expecting:literal, |$value:ident, $serializer:ident| $serialize:expr) => {
        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(
                &self,
                $serializer: S,
            ) -> ::std::result::Result<S::Ok, S::Error> {
                let $value = self;
                $serialize
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::std::result::Result<Self, D::Error> {
                deserializer.deserialize_str($crate::text::TextVisitor::new($expecting))
            }
        }
    };
}

/// Implements `as_str`, `Display`, `FromStr` and serde for an enum of names.
macro_rules! named_enum {
    ($type:ident, $error:ident, $what:literal, { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every value, in the order of the specification.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::std::str::FromStr for $type {
            type Err = $error;

            fn from_str(text: &str) -> ::std::result::Result<Self, $error> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err($error),
                }
            }
        }

        #[doc = concat!("Returned when a text is not the name of ", $what, ".")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ::thiserror::Error)]
        #[error("expected {what}, one of{names}", what = $what, names = concat!($(" `", $name, "`"),+))]
        #[non_exhaustive]
        pub struct $error;

        $crate::text::text_serde!($type, $what, as_str);

        #[cfg(feature = "schema")]
        $crate::schema::names!($type, $what, [$($name),+]);
    };
}

pub(crate) use {named_enum, text_serde};
