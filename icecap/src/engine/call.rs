//! `CALL`: the procedures of the namespace `system`.

use icecap_table::commit::{Change, StatementKind, TableChange};
use icecap_table::id::TableIdent;
use icecap_table::location;

use super::StatementResult;
use super::insert::MAIN;
use super::session::Run;
use super::tables::as_done;
use super::upkeep::{expire_snapshots, rewrite_data_files};
use super::write::Intent;
use crate::sql::{Name, Value, parse_name};
use crate::{Error, Result};

type Argument = (Option<String>, Value);

impl Run {
    /// Runs `CALL`.
    pub(super) async fn call(&self, procedure: &Name, args: &[Argument]) -> Result<StatementResult> {
        let mut parts: Vec<String> = procedure.0.iter().map(|part| part.value.to_lowercase()).collect();
        if parts.len() == 3 && parts[0] == self.parts.catalog_name.to_lowercase() {
            parts.remove(0);
        }
        match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["system", "register_table"] => self.register_table(args).await,
            ["system", "rewrite_data_files"] => self.optimize(&rewrite_data_files(args)?).await,
            ["system", "expire_snapshots"] => self.vacuum(&expire_snapshots(args)?).await,
            _ => Err(Error::unsupported(format!(
                "the procedure {procedure} is not supported: system.register_table, system.rewrite_data_files and \
                 system.expire_snapshots are"
            ))),
        }
    }

    /// Takes a table that another engine wrote into the catalog, with its history. The files stay where they are.
    async fn register_table(&self, args: &[Argument]) -> Result<StatementResult> {
        let [table, metadata_file] = texts("register_table", ["table", "metadata_file"], args)?;
        let kind = StatementKind::Call;
        let (ident, metadata_location) = match self.limited(self.plan_register(&table, &metadata_file)).await
        {
            Ok(planned) => planned,
            Err(error) => return self.replay_or(kind, table, error).await.map(as_done),
        };
        let change = TableChange {
            ident,
            uuid: None,
            reference: MAIN.to_owned(),
            base: None,
            change: Change::Register { metadata_location },
        };
        let intent = Intent { kind, target: table, bases: Vec::new(), prefixes: Vec::new() };
        self.write(intent, |_| async move { Ok(vec![change]) }).await.map(as_done)
    }

    async fn plan_register(&self, table: &str, metadata_file: &str) -> Result<(TableIdent, String)> {
        let ident = self.parts.new_table(&parse_name(table)?).await?;
        if self.parts.catalog.table_location(&ident).await?.is_some() {
            return Err(Error::already_exists(format!(
                "table {ident} exists already: drop it first, or register the table under another name"
            )));
        }
        let location = location::to_location(metadata_file)?;
        // Before anything is begun: the committer judges it again.
        self.parts.policy.check(&location)?;
        Ok((ident, location))
    }
}

/// The arguments of a procedure that takes texts, by name or in order.
fn texts<const N: usize>(procedure: &str, names: [&str; N], args: &[Argument]) -> Result<[String; N]> {
    let wrong = |what: String| {
        let usage: Vec<String> = names.iter().map(|name| format!("{name} => '…'")).collect();
        Error::invalid(format!("{procedure}: {what}; write CALL system.{procedure}({})", usage.join(", ")))
    };
    let mut found: [Option<String>; N] = [const { None }; N];
    for (at, (name, value)) in args.iter().enumerate() {
        let at = match name {
            Some(name) => names.iter().position(|known| known == name),
            None => Some(at).filter(|at| *at < N),
        };
        let Some(at) = at else {
            let what =
                name.as_ref().map_or("too many arguments".to_owned(), |name| format!("no argument {name}"));
            return Err(wrong(what));
        };
        match value {
            Value::String(text) if !text.is_empty() && found[at].is_none() => found[at] = Some(text.clone()),
            Value::String(text) if !text.is_empty() => {
                return Err(wrong(format!("{} is given twice", names[at])));
            }
            _ => return Err(wrong(format!("{} is a text", names[at]))),
        }
    }
    let mut texts = [const { String::new() }; N];
    for (at, text) in found.into_iter().enumerate() {
        texts[at] = text.ok_or_else(|| wrong(format!("{} is missing", names[at])))?;
    }
    Ok(texts)
}
