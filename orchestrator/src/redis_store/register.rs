//! The register: a hash of rows, and their names in order beside it.

use super::{RedisStore, function, value};
use gristmill_actors::ports::StoreError;
use gristmill_actors::rail::BoxFuture;
use gristmill_actors::register::{Register, Row};

const KEY: &str = "{gm:register}";

fn optional(call: &mut redis::Cmd, row: Option<&[u8]>) {
    call.arg(u8::from(row.is_some())).arg(row.unwrap_or_default());
}

impl Register for RedisStore {
    fn get(&self, name: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async move {
            let mut call = redis::cmd("HGET");
            call.arg(format!("{KEY}:rows")).arg(name);
            value::maybe(self.link.call(&call).await?, "a row of the register")
        })
    }

    fn swap(
        &self,
        name: String,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let mut call = function("gm2_swap", KEY);
            call.arg(name);
            optional(&mut call, expected.as_deref());
            optional(&mut call, new.as_deref());
            Ok(value::number(self.write(&call).await?, "a swap")? == 1)
        })
    }

    fn scan(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        Box::pin(async move {
            let from = match after.filter(|after| *after >= prefix) {
                Some(after) => [b"(", after.as_bytes()].concat(),
                None => [b"[", prefix.as_bytes()].concat(),
            };
            // Names are UTF-8, in which this byte does not occur.
            let to = [b"(", prefix.as_bytes(), b"\xff"].concat();
            let mut call = redis::cmd("ZRANGEBYLEX");
            call.arg(format!("{KEY}:names")).arg(from).arg(to).arg("LIMIT").arg(0).arg(limit);
            let names = value::array(self.link.call(&call).await?, "names of the register")?;
            if names.is_empty() {
                return Ok(Vec::new());
            }
            let names = names.into_iter().map(|name| value::text(name, "a name of the register"));
            let names = names.collect::<Result<Vec<_>, _>>()?;
            let mut call = redis::cmd("HMGET");
            call.arg(format!("{KEY}:rows")).arg(&names);
            let rows = value::array(self.link.call(&call).await?, "rows of the register")?;
            let mut found = Vec::with_capacity(names.len());
            for (name, row) in names.into_iter().zip(rows) {
                // A row that was taken away in between is none.
                if let Some(row) = value::maybe(row, "a row of the register")? {
                    found.push((name, row));
                }
            }
            Ok(found)
        })
    }
}
