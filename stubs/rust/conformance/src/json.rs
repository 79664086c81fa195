//! The JSON form of messages, by the schema's descriptors.

use std::path::Path;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, SerializeOptions};

use crate::AnyError;

/// The schema, read from the checkout.
#[derive(Clone)]
pub(crate) struct Schema(DescriptorPool);

impl Schema {
    pub(crate) fn read() -> Result<Self, AnyError> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../proto");
        let files = ["generation", "embedding", "tokenizer", "model"];
        let files = files.map(|name| root.join(format!("mlxforge/v1/{name}.proto")));
        let descriptors = protox::compile(files, [root])?;
        Ok(Self(DescriptorPool::from_file_descriptor_set(descriptors)?))
    }

    /// A request in binary form.
    pub(crate) fn request(&self, method: &str, json: &str) -> Result<Vec<u8>, AnyError> {
        let mut json = serde_json::Deserializer::from_str(json);
        let message = DynamicMessage::deserialize(self.method(method)?.input(), &mut json)?;
        json.end()?;
        Ok(message.encode_to_vec())
    }

    /// A response as one line of JSON.
    pub(crate) fn response(&self, method: &str, data: &[u8]) -> Result<String, AnyError> {
        let message = DynamicMessage::decode(self.method(method)?.output(), data)?;
        let mut json = serde_json::Serializer::new(Vec::new());
        message.serialize_with_options(&mut json, &SerializeOptions::new())?;
        Ok(String::from_utf8(json.into_inner())?)
    }

    fn method(&self, name: &str) -> Result<MethodDescriptor, AnyError> {
        let (service, method) = name.split_once('/').ok_or("a method is service/name")?;
        let service = self
            .0
            .get_service_by_name(service)
            .ok_or("no such service")?;
        let method = service.methods().find(|each| each.name() == method);
        Ok(method.ok_or("no such method")?)
    }
}
