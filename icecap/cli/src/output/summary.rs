//! What a statement that returns no rows reports, in every format.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use icecap::engine::{Cost, Races};
use icecap_table::Error;
use serde_json::{Map, Value};

use super::csv::record;
use super::{Format, OutputError, Screen, row_writer};
use crate::quantity::show_bytes;

/// What a statement did.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant)] // one a statement
pub enum Summary {
    /// It wrote rows.
    Written(Written),
    /// It changed a definition.
    Done(Done),
}

/// What a write did; what does not apply is `None`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Written {
    /// The kind of statement, in Athena's word (`INSERT`, `CREATE_TABLE_AS_SELECT`).
    pub statement: String,
    /// The table's full name.
    pub table: String,
    /// Rows added.
    pub rows_inserted: Option<u64>,
    /// Rows changed.
    pub rows_updated: Option<u64>,
    /// Rows removed.
    pub rows_deleted: Option<u64>,
    /// Data files added.
    pub data_files: Option<u64>,
    /// Delete files added.
    pub delete_files: Option<u64>,
    /// Bytes of all files added.
    pub bytes_written: u64,
    /// The snapshot made; none when nothing changed.
    pub snapshot_id: Option<i64>,
    /// Time from the statement's begin to its commit.
    pub seconds: f64,
    /// What its tasks in other processes cost.
    pub cost: Option<Cost>,
    /// What races cost that it lost.
    pub races: Option<Races>,
}

/// What a statement of definition did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Done {
    /// The kind of statement, in Athena's word (`CREATE_TABLE`).
    pub statement: String,
    /// The table's full name, when there is one.
    pub table: Option<String>,
    /// What it counted, by names such as `snapshots_expired`.
    pub counts: Vec<(&'static str, u64)>,
}

impl Summary {
    /// The summary in `format` as bytes: for Arrow a stream of one row.
    ///
    /// # Errors
    /// `Unsupported` when it cannot be encoded.
    pub fn encode(&self, format: Format) -> Result<Vec<u8>, OutputError> {
        if format != Format::Arrow {
            return Ok(self.show(format).into_bytes());
        }
        let columns = self.fields().into_iter().map(|(name, value)| {
            let column: ArrayRef = match &value {
                Value::Number(number) => match number.as_i64() {
                    Some(count) => Arc::new(Int64Array::from(vec![count])),
                    None => Arc::new(Float64Array::from(vec![number.as_f64()])),
                },
                value => Arc::new(StringArray::from(vec![value.as_str()])),
            };
            (name, column)
        });
        let row = RecordBatch::try_from_iter(columns)
            .map_err(|error| Error::bug("a summary is no row").with_source(error))?;
        let mut bytes = Vec::new();
        let mut writer = row_writer(format, row.schema(), Screen::default());
        writer.write(&row, &mut bytes)?;
        writer.finish(&mut bytes)?;
        Ok(bytes)
    }

    /// The summary as text, line end included; beside Arrow, which is none, as JSON.
    pub fn show(&self, format: Format) -> String {
        match format {
            Format::Table => format!("{}\n", self.sentence()),
            Format::Json | Format::Arrow => format!("{}\n", Value::Object(self.fields())),
            Format::Csv => {
                let fields = self.fields();
                let values: Vec<String> = fields
                    .values()
                    .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                    .collect();
                record(fields.keys().map(String::as_str)) + &record(values.iter().map(String::as_str))
            }
        }
    }

    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        };
        match self {
            Self::Written(write) => {
                add("statement", Some(write.statement.clone().into()));
                add("rows_inserted", write.rows_inserted.map(Value::from));
                add("rows_updated", write.rows_updated.map(Value::from));
                add("rows_deleted", write.rows_deleted.map(Value::from));
                add("data_files", write.data_files.map(Value::from));
                add("delete_files", write.delete_files.map(Value::from));
                add("bytes_written", Some(write.bytes_written.into()));
                // A string: as a JSON number it would lose digits in most readers.
                add("snapshot_id", write.snapshot_id.map(|id| id.to_string().into()));
                add("seconds", Some(micros(write.seconds).into()));
                if let Some(races) = &write.races {
                    add("lost_races", Some(races.lost.into()));
                    add("replanned_files", Some(races.replanned_files.into()));
                    add("replanned_of_files", Some(races.files.into()));
                }
                if let Some(cost) = &write.cost {
                    add("attempts", Some(cost.attempts.into()));
                    add("failed_attempts", Some(cost.failed_attempts.into()));
                    add("cold_starts", Some(cost.cold_starts.into()));
                    add("attempts_seconds", Some(micros(seconds(cost.wall_ms)).into()));
                    add("billed_seconds", cost.billed_ms.map(|ms| micros(seconds(ms)).into()));
                    add("gb_seconds", cost.gb_seconds.map(|gb| micros(gb).into()));
                    let moved = cost.exchange;
                    if moved.requests > 0 {
                        add("exchange_bytes_written", Some(moved.bytes_written.into()));
                        add("exchange_bytes_read", Some(moved.bytes_read.into()));
                        add("exchange_requests", Some(moved.requests.into()));
                    }
                }
            }
            Self::Done(done) => {
                add("statement", Some(done.statement.clone().into()));
                add("table", done.table.clone().map(Value::from));
                for (name, count) in &done.counts {
                    add(name, Some((*count).into()));
                }
            }
        }
        fields
    }

    fn sentence(&self) -> String {
        match self {
            Self::Done(Done { statement, table, counts }) => {
                let mut text = statement.clone();
                if let Some(table) = table {
                    text.push(' ');
                    text.push_str(table);
                }
                let counted: Vec<String> = counts
                    .iter()
                    .filter(|(_, count)| *count > 0)
                    .map(|(name, count)| format!("{count} {}", name.replace('_', " ")))
                    .collect();
                match (counts.is_empty(), counted.is_empty()) {
                    (true, _) => text,
                    (false, true) => text + ": nothing to do",
                    (false, false) => text + ": " + &counted.join(", "),
                }
            }
            Self::Written(write) => {
                let mut parts = Vec::new();
                for (count, done) in [
                    (write.rows_inserted, "inserted"),
                    (write.rows_updated, "updated"),
                    (write.rows_deleted, "deleted"),
                ] {
                    parts.extend(count.map(|count| format!("{} {done}", plural(count, "row"))));
                }
                parts.extend(write.data_files.map(|count| plural(count, "data file")));
                parts.extend(write.delete_files.map(|count| plural(count, "delete file")));
                parts.push(show_bytes(write.bytes_written));
                parts.push(format!("{:.3} s", write.seconds));
                let text = format!("{} {}: {}", write.statement, write.table, parts.join(", "));
                match &write.races {
                    Some(Races { lost, replanned_files, files }) => format!(
                        "{text} (lost {}, planned again: {replanned_files} of {})",
                        plural(*lost, "race"),
                        plural(*files, "file")
                    ),
                    None => text,
                }
            }
        }
    }
}

fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}

/// Seconds to the microsecond: more digits say nothing.
fn micros(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use icecap::dispatch::usage::ExchangeUsage;

    use super::*;

    fn insert() -> Summary {
        Summary::Written(Written {
            statement: "INSERT".into(),
            table: "default.t".into(),
            rows_inserted: Some(3),
            data_files: Some(1),
            bytes_written: 1234,
            snapshot_id: Some(9_007_199_254_740_993),
            seconds: 0.012_345_678,
            ..Written::default()
        })
    }

    #[test]
    fn a_write_as_json_leaves_out_what_does_not_apply() {
        assert_eq!(
            insert().show(Format::Json),
            "{\"statement\":\"INSERT\",\"rows_inserted\":3,\"data_files\":1,\"bytes_written\":1234,\
             \"snapshot_id\":\"9007199254740993\",\"seconds\":0.012346}\n"
        );
    }

    #[test]
    fn a_write_as_a_sentence_and_as_csv() {
        assert_eq!(
            insert().show(Format::Table),
            "INSERT default.t: 3 rows inserted, 1 data file, 1.2 kB, 0.012 s\n"
        );
        assert_eq!(
            insert().show(Format::Csv),
            "statement,rows_inserted,data_files,bytes_written,snapshot_id,seconds\n\
             INSERT,3,1,1234,9007199254740993,0.012346\n"
        );
    }

    #[test]
    fn what_other_processes_did_for_a_write_is_told_in_json() {
        let Summary::Written(write) = insert() else { panic!("an insert is a write") };
        let cost = Cost {
            place: icecap::dispatch::usage::Place::Lambda,
            attempts: 3,
            failed_attempts: 1,
            cold_starts: 2,
            wall_ms: 1250,
            billed_ms: Some(1002),
            gb_seconds: Some(1.957_031_25),
            exchange: ExchangeUsage { bytes_written: 70, bytes_read: 60, requests: 5 },
        };
        let shown = Summary::Written(Written { cost: Some(cost), ..write }).show(Format::Json);
        assert!(
            shown.ends_with(
                ",\"seconds\":0.012346,\"attempts\":3,\"failed_attempts\":1,\"cold_starts\":2,\
                 \"attempts_seconds\":1.25,\"billed_seconds\":1.002,\"gb_seconds\":1.957031,\
                 \"exchange_bytes_written\":70,\"exchange_bytes_read\":60,\"exchange_requests\":5}\n"
            ),
            "{shown}"
        );
    }

    #[test]
    fn a_lost_race_is_told() {
        let Summary::Written(write) = insert() else { panic!("an insert is a write") };
        let races = Some(Races { lost: 1, replanned_files: 2, files: 40 });
        let write = Summary::Written(Written { races, ..write });
        assert_eq!(
            write.show(Format::Table),
            "INSERT default.t: 3 rows inserted, 1 data file, 1.2 kB, 0.012 s (lost 1 race, planned again: 2 of 40 files)\n"
        );
        let json = write.show(Format::Json);
        assert!(
            json.ends_with(
                ",\"seconds\":0.012346,\"lost_races\":1,\"replanned_files\":2,\"replanned_of_files\":40}\n"
            ),
            "{json}"
        );
    }

    #[test]
    fn every_count_of_a_row_level_write_is_told() {
        let write = Summary::Written(Written {
            statement: "MERGE".into(),
            table: "a.b".into(),
            rows_inserted: Some(1),
            rows_updated: Some(2),
            rows_deleted: Some(0),
            data_files: Some(2),
            delete_files: Some(1),
            bytes_written: 10,
            snapshot_id: None,
            seconds: 1.0,
            cost: None,
            races: None,
        });
        assert_eq!(
            write.show(Format::Table),
            "MERGE a.b: 1 row inserted, 2 rows updated, 0 rows deleted, 2 data files, 1 delete file, 10 bytes, 1.000 s\n"
        );
        assert_eq!(
            write.show(Format::Json),
            "{\"statement\":\"MERGE\",\"rows_inserted\":1,\"rows_updated\":2,\"rows_deleted\":0,\"data_files\":2,\
             \"delete_files\":1,\"bytes_written\":10,\"seconds\":1.0}\n"
        );
    }

    #[test]
    fn a_definition_names_its_table_when_it_has_one() {
        let done = Summary::Done(Done {
            statement: "CREATE_TABLE".into(),
            table: Some("a.b".into()),
            ..Done::default()
        });
        assert_eq!(done.show(Format::Json), "{\"statement\":\"CREATE_TABLE\",\"table\":\"a.b\"}\n");
        assert_eq!(done.show(Format::Table), "CREATE_TABLE a.b\n");
        let done = Summary::Done(Done { statement: "CREATE_DATABASE".into(), ..Done::default() });
        assert_eq!(done.show(Format::Json), "{\"statement\":\"CREATE_DATABASE\"}\n");
        assert_eq!(done.show(Format::Table), "CREATE_DATABASE\n");
    }

    #[test]
    fn what_upkeep_counted_is_told() {
        let counts = vec![("snapshots_expired", 12), ("data_files_deleted", 3), ("orphans_deleted", 0)];
        let vacuum = Done { statement: "VACUUM".into(), table: Some("a.b".into()), counts };
        assert_eq!(
            Summary::Done(vacuum.clone()).show(Format::Json),
            "{\"statement\":\"VACUUM\",\"table\":\"a.b\",\"snapshots_expired\":12,\"data_files_deleted\":3,\
             \"orphans_deleted\":0}\n"
        );
        assert_eq!(
            Summary::Done(vacuum.clone()).show(Format::Table),
            "VACUUM a.b: 12 snapshots expired, 3 data files deleted\n"
        );
        let nothing = Done { counts: vec![("snapshots_expired", 0)], ..vacuum };
        assert_eq!(Summary::Done(nothing).show(Format::Table), "VACUUM a.b: nothing to do\n");
    }
}
