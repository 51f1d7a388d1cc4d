//! The schemas describe the fields of the messages.
#![cfg(feature = "schema")]

use proptest::prelude::*;
use serde_json::Value;
use tidings_protocol::{ServerMessage, Timestamp};

use crate::strategies;

struct Schema(Value);

impl Schema {
    fn named(name: &str) -> Self {
        let all = tidings_protocol::schema::all();
        let (_, text) = all.iter().find(|(known, _)| *known == name).unwrap();
        Self(serde_json::from_str(text).unwrap())
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => self.resolve(self.0.pointer(&reference[1..]).unwrap()),
            None => schema,
        }
    }

    /// Returns the alternative whose `tag` is `name`, or the alternative without a constant tag.
    fn alternative(&self, tag: &str, name: &Value) -> &Value {
        let alternatives = self.0["oneOf"]
            .as_array()
            .or(self.0["anyOf"].as_array())
            .unwrap();
        let constant = |schema: &&Value| schema["properties"][tag]["const"] == *name;
        let found = alternatives.iter().find(constant);
        let open = |schema: &&Value| self.resolve(schema)["properties"][tag]["const"].is_null();
        let found = found.or_else(|| alternatives.iter().find(open));
        self.resolve(found.unwrap_or_else(|| panic!("no schema for {name}")))
    }

    /// Checks that the schema knows all keys of the object, and that no required key is missing.
    fn check(&self, schema: &Value, object: &Value) -> Result<(), TestCaseError> {
        let object = object.as_object().unwrap();
        for (key, value) in object {
            let property = &schema["properties"][key];
            prop_assert!(!property.is_null(), "{key} is not in {schema:#}");
            let property = self.resolve(property);
            if value.is_object() && property["properties"].is_object() {
                self.check(property, value)?;
            }
        }
        for key in schema["required"].as_array().into_iter().flatten() {
            prop_assert!(
                object.contains_key(key.as_str().unwrap()),
                "{key} is missing"
            );
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn client_messages(message in strategies::client_message()) {
        let schema = Schema::named("client-message.json");
        let value: Value = serde_json::from_str(&message.encode()).unwrap();
        schema.check(schema.alternative("type", &value["type"]), &value)?;
    }

    #[test]
    fn control_messages(message in strategies::control_message()) {
        let schema = Schema::named("server-message.json");
        let value: Value = serde_json::from_str(&message.encode(Timestamp::MIN)).unwrap();
        let alternative = schema.alternative("event_type", &value["event_type"]);
        prop_assert_eq!(&alternative["properties"]["event_type"]["const"], message.name());
        schema.check(alternative, &value)?;
    }

    #[test]
    fn events(event in strategies::event()) {
        let schema = Schema::named("server-message.json");
        let value = serde_json::to_value(&event).unwrap();
        schema.check(schema.alternative("event_type", &value["event_type"]), &value)?;
        let text = value.to_string();
        prop_assert!(matches!(ServerMessage::decode(&text), Ok(ServerMessage::Event(_))));
    }

    #[test]
    fn data_of_standard_events(event in strategies::reported()) {
        prop_assume!(!matches!(event.event_type, tidings_protocol::EventType::Custom(_)));
        let schema = Schema::named("event-data.json");
        let value = serde_json::to_value(&event).unwrap();
        let alternative = schema.alternative("event_type", &value["event_type"]);
        let data = schema.resolve(&alternative["properties"]["data"]);
        if data["properties"].is_object() {
            schema.check(data, &value["data"])?;
        }
    }
}
