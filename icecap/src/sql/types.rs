//! SQL's types as Iceberg's: both spellings read, Athena's written.

use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::DataFusionError;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{DataType as SqlType, ObjectNamePart};
use datafusion::sql::sqlparser::tokenizer::Token;
use icecap_table::iceberg::spec::{ListType, MapType, NestedField, PrimitiveType, StructType, Type};
use icecap_table::{Error, Result};

use super::cursor::{Cursor, Tokens};
use crate::arrow_schema::arrow_type;

/// How deep types may nest.
const MAX_DEPTH: usize = 32;

/// Parses a type that stands on its own, such as `array<int>`.
///
/// Ids inside are drawn from 1 on; they are placeholders until a table's schema assigns its own.
///
/// # Errors
/// `Invalid` saying what was expected; `Unsupported` for a type that Iceberg has not.
pub fn parse_type(text: &str) -> Result<Type> {
    let tokens = Tokens::of(text)?;
    let mut cursor = tokens.cursor();
    let ty = type_at(&mut cursor, &mut 0)?;
    cursor.expect_end()?;
    Ok(ty)
}

/// Parses the type at the cursor.
pub(crate) fn type_at(cursor: &mut Cursor<'_>, next_id: &mut i32) -> Result<Type> {
    TypeParser { cursor, next_id }.parse(0)
}

struct TypeParser<'a, 'b, 'c> {
    cursor: &'a mut Cursor<'b>,
    next_id: &'c mut i32,
}

impl TypeParser<'_, '_, '_> {
    fn parse(&mut self, depth: usize) -> Result<Type> {
        if depth > MAX_DEPTH {
            return Err(self.cursor.invalid(&format!("a type nests deeper than {MAX_DEPTH} levels")));
        }
        let Some(word) = self.cursor.word_at(0).map(str::to_ascii_lowercase) else {
            return Err(self.cursor.expected("a type"));
        };
        let start = self.cursor.clone();
        self.cursor.advance();
        let primitive = match word.as_str() {
            "boolean" | "bool" => PrimitiveType::Boolean,
            "tinyint" | "smallint" | "int" | "integer" => PrimitiveType::Int,
            "bigint" | "long" => PrimitiveType::Long,
            "float" | "real" => PrimitiveType::Float,
            "double" => {
                self.cursor.take(&["PRECISION"]);
                PrimitiveType::Double
            }
            "decimal" | "numeric" | "dec" => return self.decimal(&start),
            "date" => PrimitiveType::Date,
            "time" => {
                self.precision("time")?;
                if self.zone()? {
                    return Err(Error::unsupported(format!(
                        "{}: Iceberg has no time with a time zone: use timestamptz",
                        start.place()
                    )));
                }
                PrimitiveType::Time
            }
            "timestamp" => {
                self.precision("timestamp")?;
                if self.zone()? { PrimitiveType::Timestamptz } else { PrimitiveType::Timestamp }
            }
            "timestamp_ntz" => {
                self.precision("timestamp_ntz")?;
                PrimitiveType::Timestamp
            }
            "timestamptz" | "timestamp_ltz" => {
                self.precision(&word)?;
                PrimitiveType::Timestamptz
            }
            "timestamp_ns" => PrimitiveType::TimestampNs,
            "timestamptz_ns" => PrimitiveType::TimestamptzNs,
            "string" | "text" => PrimitiveType::String,
            "varchar" | "char" | "character" => {
                self.cursor.take(&["VARYING"]);
                self.length(&word)?;
                PrimitiveType::String
            }
            "binary" | "varbinary" | "bytea" => {
                self.length(&word)?;
                PrimitiveType::Binary
            }
            "uuid" => PrimitiveType::Uuid,
            "fixed" => {
                self.cursor.expect_token(&Token::LParen)?;
                let length = self.cursor.number("the length in bytes, as in fixed(16)")?;
                self.cursor.expect_token(&Token::RParen)?;
                if length == 0 {
                    return Err(start.invalid("fixed(0) holds nothing: give a length of 1 or more"));
                }
                PrimitiveType::Fixed(u64::from(length))
            }
            "array" | "list" => return self.list(depth),
            "map" => return self.map(depth),
            "struct" | "row" => return self.fields(&word, depth),
            "json" | "variant" | "geometry" | "geography" | "interval" | "unknown" => {
                return Err(Error::unsupported(format!(
                    "{}: the type {word} is not supported yet",
                    start.place()
                )));
            }
            _ => {
                return Err(start.expected(
                    "a type such as string, int, bigint, double, decimal(10, 2), date, timestamp or array<int>",
                ));
            }
        };
        Ok(Type::Primitive(primitive))
    }

    fn draw(&mut self) -> i32 {
        *self.next_id = self.next_id.saturating_add(1);
        *self.next_id
    }

    fn decimal(&mut self, start: &Cursor<'_>) -> Result<Type> {
        if !self.cursor.take_token(&Token::LParen) {
            return Err(start.invalid("decimal needs its precision and scale, as in decimal(18, 2)"));
        }
        let precision = self.cursor.number("the precision, from 1 to 38")?;
        let scale = if self.cursor.take_token(&Token::Comma) {
            self.cursor.number("the scale, from 0 to the precision")?
        } else {
            0
        };
        self.cursor.expect_token(&Token::RParen)?;
        if precision == 0 || precision > 38 || scale > precision {
            return Err(start.invalid(&format!(
                "decimal({precision}, {scale}) is none: the precision is from 1 to 38, the scale from 0 to the precision"
            )));
        }
        Ok(Type::Primitive(PrimitiveType::Decimal { precision, scale }))
    }

    /// `(n)` after a time type, n at most 6.
    fn precision(&mut self, name: &str) -> Result<()> {
        let start = self.cursor.clone();
        if self.cursor.take_token(&Token::LParen) {
            let digits = self.cursor.number("the number of fractional digits")?;
            self.cursor.expect_token(&Token::RParen)?;
            if digits > 6 {
                return Err(start.invalid(&format!(
                    "{name} keeps microseconds, so at most 6 fractional digits: \
                     for nanoseconds use timestamp_ns or timestamptz_ns"
                )));
            }
        }
        Ok(())
    }

    /// `(n)` after a text or binary type; Iceberg stores any length.
    fn length(&mut self, name: &str) -> Result<()> {
        if self.cursor.take_token(&Token::LParen) {
            self.cursor.number(&format!("the length, as in {name}(20)"))?;
            self.cursor.expect_token(&Token::RParen)?;
        }
        Ok(())
    }

    /// `WITH TIME ZONE`, `WITH LOCAL TIME ZONE` or `WITHOUT TIME ZONE`.
    fn zone(&mut self) -> Result<bool> {
        if self.cursor.take(&["WITHOUT", "TIME", "ZONE"]) {
            return Ok(false);
        }
        Ok(self.cursor.take(&["WITH", "TIME", "ZONE"])
            || self.cursor.take(&["WITH", "LOCAL", "TIME", "ZONE"]))
    }

    /// Opens `<` or `(`; says whether it was `<`.
    fn open(&mut self, what: &str) -> Result<bool> {
        if self.cursor.take_token(&Token::Lt) {
            Ok(true)
        } else if self.cursor.take_token(&Token::LParen) {
            Ok(false)
        } else {
            Err(self.cursor.expected(what))
        }
    }

    fn close(&mut self, angle: bool) -> Result<()> {
        if angle {
            if self.cursor.take_gt() { Ok(()) } else { Err(self.cursor.expected("`>` to close the type")) }
        } else {
            self.cursor.expect_token(&Token::RParen)
        }
    }

    fn list(&mut self, depth: usize) -> Result<Type> {
        let id = self.draw();
        let angle = self.open("the element type, as in array<int> or array(int)")?;
        let element = self.parse(depth + 1)?;
        self.close(angle)?;
        Ok(Type::List(ListType::new(Arc::new(NestedField::list_element(id, element, false)))))
    }

    fn map(&mut self, depth: usize) -> Result<Type> {
        let (key_id, value_id) = (self.draw(), self.draw());
        let angle = self.open("the key and value types, as in map<string, int>")?;
        let key = self.parse(depth + 1)?;
        if !self.cursor.take_token(&Token::Comma) {
            return Err(self.cursor.expected("`,` and the value type, as in map<string, int>"));
        }
        let value = self.parse(depth + 1)?;
        self.close(angle)?;
        Ok(Type::Map(MapType::new(
            Arc::new(NestedField::map_key_element(key_id, key)),
            Arc::new(NestedField::map_value_element(value_id, value, false)),
        )))
    }

    fn fields(&mut self, word: &str, depth: usize) -> Result<Type> {
        let angle = self.open(&format!("the fields, as in {word}<name: string>"))?;
        let mut fields: Vec<Arc<NestedField>> = Vec::new();
        loop {
            let start = self.cursor.clone();
            let id = self.draw();
            let name = self.cursor.identifier("the name of a field")?.normalised();
            if matches!(self.cursor.peek(), Some(Token::Comma | Token::RParen | Token::Gt)) {
                return Err(
                    start.invalid("a field needs a name and a type, as in row(name varchar, age int)")
                );
            }
            self.cursor.take_token(&Token::Colon);
            let ty = self.parse(depth + 1)?;
            let mut field = NestedField::new(id, &name, ty, self.cursor.take(&["NOT", "NULL"]));
            if self.cursor.take(&["COMMENT"]) {
                field = field.with_doc(self.cursor.string("the comment")?);
            }
            if fields.iter().any(|other| other.name.to_lowercase() == name.to_lowercase()) {
                return Err(start.invalid(&format!("the field {name} is there twice")));
            }
            fields.push(Arc::new(field));
            if !self.cursor.take_token(&Token::Comma) {
                break;
            }
        }
        self.close(angle)?;
        Ok(Type::Struct(StructType::new(fields)))
    }
}

/// A type's name in SQL, in Athena's spelling. [`parse_type`] reads it back.
pub fn sql_type_name(ty: &Type) -> String {
    let mut name = String::new();
    write_type(&mut name, ty);
    name
}

fn write_type(out: &mut String, ty: &Type) {
    match ty {
        Type::Primitive(primitive) => out.push_str(&primitive_name(primitive)),
        Type::List(list) => {
            out.push_str("array<");
            write_type(out, &list.element_field.field_type);
            out.push('>');
        }
        Type::Map(map) => {
            out.push_str("map<");
            write_type(out, &map.key_field.field_type);
            out.push_str(", ");
            write_type(out, &map.value_field.field_type);
            out.push('>');
        }
        Type::Struct(fields) => {
            out.push_str("struct<");
            for (at, field) in fields.fields().iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                write_name(out, &field.name);
                out.push_str(": ");
                write_type(out, &field.field_type);
                if field.required {
                    out.push_str(" not null");
                }
            }
            out.push('>');
        }
    }
}

fn write_name(out: &mut String, name: &str) {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|ch| ch.is_ascii_lowercase() || ch.is_ascii_digit() || ch == '_');
    if plain {
        out.push_str(name);
    } else {
        out.push('`');
        out.push_str(&name.replace('`', "``"));
        out.push('`');
    }
}

fn primitive_name(primitive: &PrimitiveType) -> String {
    let mut name = String::new();
    let plain = match primitive {
        PrimitiveType::Boolean => "boolean",
        PrimitiveType::Int => "int",
        PrimitiveType::Long => "bigint",
        PrimitiveType::Float => "float",
        PrimitiveType::Double => "double",
        PrimitiveType::Date => "date",
        PrimitiveType::Time => "time",
        PrimitiveType::Timestamp => "timestamp",
        PrimitiveType::Timestamptz => "timestamp with time zone",
        PrimitiveType::TimestampNs => "timestamp_ns",
        PrimitiveType::TimestamptzNs => "timestamptz_ns",
        PrimitiveType::String => "string",
        PrimitiveType::Uuid => "uuid",
        PrimitiveType::Binary => "binary",
        PrimitiveType::Decimal { precision, scale } => {
            // Writing to a String cannot fail.
            let _ = write!(name, "decimal({precision}, {scale})");
            ""
        }
        PrimitiveType::Fixed(length) => {
            let _ = write!(name, "fixed({length})");
            ""
        }
    };
    name.push_str(plain);
    name
}

/// The Arrow type that a cast to `ty` yields: as the engine's functions build it, without field ids.
///
/// # Errors
/// `Unsupported` for a type without an Arrow counterpart.
pub(crate) fn cast_target(ty: &Type) -> Result<DataType> {
    Ok(match ty {
        Type::Primitive(_) => arrow_type(ty)?,
        Type::List(list) => DataType::List(Arc::new(Field::new_list_field(
            cast_target(&list.element_field.field_type)?,
            true,
        ))),
        Type::Map(map) => {
            let pair = vec![
                Field::new("key", cast_target(&map.key_field.field_type)?, false),
                Field::new("value", cast_target(&map.value_field.field_type)?, true),
            ];
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(Fields::from(pair)), false)), false)
        }
        Type::Struct(fields) => DataType::Struct(
            fields
                .fields()
                .iter()
                .map(|field| Ok(Field::new(&field.name, cast_target(&field.field_type)?, true)))
                .collect::<Result<Vec<_>>>()?
                .into(),
        ),
    })
}

/// Gives DataFusion the types of casts and typed literals.
///
/// The token pass has replaced the type of each cast by one quoted word holding its text; what still
/// arrives in sqlparser's own shape is the type of a literal such as `DATE '2024-01-01'`.
#[derive(Debug)]
pub(crate) struct IcecapTypes;

impl TypePlanner for IcecapTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>, DataFusionError> {
        let text = match sql_type {
            SqlType::Custom(name, arguments) if arguments.is_empty() => match name.0.as_slice() {
                [ObjectNamePart::Identifier(ident)] => ident.value.clone(),
                _ => name.to_string(),
            },
            // Used by the planner itself for interval arithmetic.
            SqlType::Interval { .. } => return Ok(None),
            other => other.to_string(),
        };
        let data_type = parse_type(&text)
            .and_then(|ty| cast_target(&ty))
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}

#[cfg(test)]
mod tests;
