use icecap_table::ErrorKind;

use super::*;

fn parse_line(args: &[&str]) -> Result<Invocation> {
    parse(std::iter::once("icecap").chain(args.iter().copied()).map(OsString::from))
}

fn sql(args: &[&str]) -> SqlCommand {
    match parse_line(&[&["sql"], args].concat()).unwrap() {
        Invocation::Sql(command) => *command,
        other => panic!("expected statements, got: {other:?}"),
    }
}

fn print(args: &[&str]) -> String {
    match parse_line(args).unwrap() {
        Invocation::Print(text) => text,
        other => panic!("expected text, got: {other:?}"),
    }
}

fn failure(args: &[&str]) -> (ErrorKind, String) {
    let error = parse_line(args).unwrap_err();
    (error.kind(), error.to_string())
}

#[test]
fn verify_takes_tables_and_no_less() {
    let Invocation::Verify(command) = parse_line(&["verify", "--metadata-only", "a", "b.c"]).unwrap() else {
        panic!("expected tables to verify");
    };
    assert_eq!(command.tables, ["a", "b.c"]);
    assert!(command.metadata_only && !command.json);
    assert_eq!(failure(&["verify"]).0, ErrorKind::Invalid);
}

#[test]
fn without_flags_everything_has_its_default() {
    assert_eq!(
        sql(&[]),
        SqlCommand {
            sources: vec![],
            format: Format::Table,
            warehouse: "./warehouse".into(),
            catalog: None,
            token: None,
            memory_bytes: None,
            threads: None,
            tasks: None,
            slots: None,
            session: false,
            temp_dir: None,
            timeout: None,
            allow_location: vec![],
            allow_read: None,
            verbosity: 0,
            writers: WritersArg::InProcess,
        }
    );
}

#[test]
fn every_flag_arrives() {
    let line = "--warehouse /w --catalog sqlite:/c.db --format json --id t1 --memory 512MB --threads 3 --tasks 8 --slots 5 \
                --temp-dir /tmp/x --timeout 5m --allow-location /a --allow-location /b,c --allow-read /r --writers 4 -vv -e X";
    assert_eq!(
        sql(&line.split_whitespace().collect::<Vec<_>>()),
        SqlCommand {
            sources: vec![Source::Inline("X".into())],
            format: Format::Json,
            warehouse: "/w".into(),
            catalog: Some("sqlite:/c.db".into()),
            token: Some("t1".into()),
            memory_bytes: Some(512_000_000),
            threads: Some(3),
            tasks: Some(8),
            slots: Some(5),
            session: false,
            temp_dir: Some("/tmp/x".into()),
            timeout: Some(Duration::from_secs(300)),
            allow_location: vec!["/a".into(), "/b,c".into()],
            allow_read: Some(vec!["/r".into()]),
            verbosity: 2,
            writers: WritersArg::Children(4),
        }
    );
}

#[test]
fn statements_and_files_keep_their_order() {
    let sources =
        sql(&["-e", "A", "-f", "b.sql", "--format", "csv", "-e", "C", "-f", "-", "--execute", "E"]).sources;
    assert_eq!(
        sources,
        [
            Source::Inline("A".into()),
            Source::File("b.sql".into()),
            Source::Inline("C".into()),
            Source::Stdin,
            Source::Inline("E".into()),
        ]
    );
}

#[test]
fn sql_may_begin_with_a_comment() {
    assert_eq!(sql(&["-e", "-- all\nSELECT 1"]).sources, [Source::Inline("-- all\nSELECT 1".into())]);
}

#[test]
fn a_wrong_flag_or_value_is_invalid_and_named() {
    for (args, begin) in [
        (&["sql", "--frobnicate"][..], "unexpected argument '--frobnicate' found"),
        (&["sql", "--memory", "1M"], "invalid value '1M' for '--memory <SIZE>': '1M' is not a size: "),
        (&["sql", "--timeout", "30"], "invalid value '30' for '--timeout <TIME>': '30' is not a duration: "),
        (&["sql", "--threads", "0"], "invalid value '0' for '--threads <N>': "),
        (&["sql", "--format", "xml"], "invalid value 'xml' for '--format <FORMAT>'"),
        (&["sql", "--id", ""], "a value is required for '--id <TOKEN>'"),
        (&["sql", "--warehouse"], "a value is required for '--warehouse <DIR>'"),
        (&["sql", "extra"], "unexpected argument 'extra' found"),
        (&["sqll"], "unrecognized subcommand 'sqll'"),
        (&[], "a command is needed\n\nRuns SQL write statements"),
    ] {
        let (kind, message) = failure(args);
        assert_eq!(kind, ErrorKind::Invalid, "{args:?}");
        assert!(message.starts_with(begin), "{args:?}: {message}");
        assert!(!message.contains('\u{1b}'), "{message:?}");
    }
}

#[test]
fn what_is_not_built_is_unsupported_and_named() {
    for (args, message) in [
        (&["sql", "--commit", "http://h"][..], "--commit is not supported yet"),
        (&["sql", "--ledger", "sqlite:x"], "--ledger is not supported yet"),
        (&["serve", "--listen", "127.0.0.1:1"], "`icecap serve` is not supported yet"),
        (&["catalog", "import", "--help"], "`icecap catalog` is not supported yet"),
        (&["commit", "sweep"], "`icecap commit` is not supported yet"),
        (&["compact"], "`icecap compact` is not supported yet"),
        (&["check"], "`icecap check` is not supported yet"),
    ] {
        assert_eq!(failure(args), (ErrorKind::Unsupported, message.to_owned()), "{args:?}");
    }
}

#[test]
fn help_has_examples_and_version_a_number() {
    assert!(print(&["--help"]).contains("icecap sql -e \"CREATE TABLE trips"));
    let help = print(&["sql", "--help"]);
    for flag in [
        "--execute",
        "--file",
        "--warehouse",
        "--id",
        "--memory",
        "--timeout",
        "--allow-read",
        "--id nightly",
        "--writers 4",
    ] {
        assert!(help.contains(flag), "{flag}");
    }
    assert!(!help.contains("--ledger"));
    assert!(!print(&["--help"]).contains("writer --stdio"));
    for args in [&["--version"][..], &["sql", "--version"]] {
        assert!(print(args).ends_with(&format!(" {}\n", env!("CARGO_PKG_VERSION"))), "{}", print(args));
    }
}

#[test]
fn every_flag_but_the_id_has_a_variable_of_its_name() {
    let command = Cli::command();
    let sql = command.find_subcommand("sql").unwrap();
    for arg in sql.get_arguments() {
        let id = arg.get_id().as_str();
        let variable = arg.get_env().map(|name| name.to_str().unwrap().to_owned());
        let expected = (id != "id").then(|| format!("ICECAP_{}", id.to_uppercase()));
        assert_eq!(variable, expected, "{id}");
    }
}

#[test]
fn completions_are_made_for_every_shell_and_offer_nothing_hidden() {
    for (shell, wanted) in [
        ("bash", "complete -F _icecap"),
        ("zsh", "#compdef icecap"),
        ("fish", "complete -c icecap"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion:arg-completer[icecap]"),
    ] {
        let script = print(&["completions", shell]);
        assert!(script.contains(wanted), "{shell}: {script}");
        assert!(script.contains("temp-dir"), "{shell}");
        assert!(script.contains("lambda-local"), "{shell}");
        for hidden in ["stdio", "ledger"] {
            assert!(!script.contains(hidden), "{shell} offers {hidden}");
        }
    }
    assert!(failure(&["completions", "cmd"]).1.starts_with("invalid value 'cmd' for '<SHELL>'"));
}

#[test]
fn manual_pages_are_made_for_icecap_and_its_commands() {
    let page = print(&["man"]);
    assert!(page.contains(".TH icecap 1") && page.contains("icecap\\-sql(1)"), "{page}");
    let page = print(&["man", "sql"]);
    assert!(page.contains(".TH icecap\\-sql 1") || page.contains(".TH icecap-sql 1"), "{page}");
    for wanted in ["\\-\\-timeout", "ICECAP_TEMP_DIR", "Exit status"] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    assert!(!page.contains("ledger"), "{page}");
    assert!(failure(&["man", "serve"]).1.starts_with("there is no command serve"));
}

#[test]
fn writers_are_a_number_of_processes_or_a_function() {
    let function = "arn:aws:lambda:eu-west-1:1:function:w";
    let lambda = sql(&["--writers", &format!("lambda:{function}")]).writers;
    assert_eq!(lambda, WritersArg::Lambda(function.into()));
    assert_eq!(sql(&["--writers", "1"]).writers, WritersArg::Children(1));
    for wrong in ["0", "1025", "many", "-1", "", "lambda:", "lambda"] {
        let (kind, message) = failure(&["sql", "--writers", wrong]);
        assert_eq!(kind, ErrorKind::Invalid, "{wrong}: {message}");
    }
}

#[test]
fn a_writer_process_is_started_with_what_its_command_line_takes() {
    let program = WriterCommand::program("/bin/icecap".into(), Some(3), 2);
    let args = std::iter::once("icecap".into()).chain(program.args);
    let Invocation::Writer(command) = parse(args).unwrap() else { panic!("it is no writer") };
    assert_eq!((command.threads, command.verbose), (Some(3), 2));
}

#[test]
fn lambda_local_takes_functions_and_faults() {
    let line = "lambda-local --listen 127.0.0.1:0 --function w=/bin/w --concurrency 2 --timeout 3s --memory 512 \
                --idle-ttl 1s --variable A=b=c --fault kill@3+50 --fault drop-reply%10 --seed 7 --freeze";
    let args: Vec<&str> = line.split_whitespace().collect();
    let Invocation::LambdaLocal(command) = parse_line(&args).unwrap() else { panic!("it serves nothing") };
    let settings = command.settings().unwrap();
    assert_eq!(settings.functions, [("w".into(), "/bin/w".into())]);
    assert_eq!(settings.variables, [("A".into(), "b=c".into())]);
    assert_eq!((settings.limits.concurrency, settings.limits.memory_mb), (2, 512));
    assert!(settings.freeze);
    for wrong in [&["lambda-local"][..], &["lambda-local", "--function", "w=x", "--fault", "burn@1"]] {
        assert_eq!(failure(wrong).0, ErrorKind::Invalid);
    }
    let Invocation::LambdaLocal(command) = parse_line(&["lambda-local", "--function", "w"]).unwrap() else {
        panic!("it serves nothing")
    };
    assert_eq!(command.settings().unwrap_err().kind(), ErrorKind::Invalid);
    assert!(print(&["lambda-local", "--help"]).contains("--fault kill@3"));
}
