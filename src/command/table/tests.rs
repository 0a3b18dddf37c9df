use super::*;
use crate::command::wire::Kind;

fn read_as(format: Format, text: impl AsRef<[u8]>) -> (Vec<Column>, Vec<Row>, Vec<String>) {
    let mut mistakes = Mistakes::new("t");
    let mut rows = Vec::new();
    let columns = read(text.as_ref(), format, &mut mistakes, |row| {
        rows.push(row);
        Ok(())
    });
    (columns.unwrap(), rows, mistakes.told())
}

fn tsv(text: impl AsRef<[u8]>) -> (Vec<Column>, Vec<Row>, Vec<String>) {
    read_as(Format::Tsv, text)
}

fn values(rows: &[Row]) -> Vec<Vec<&str>> {
    rows.iter().map(|row| row.values.iter().map(String::as_str).collect()).collect()
}

#[test]
fn a_table_of_ecsub_is_read_as_it_is() {
    let text = "# plays\n\n#--env\tNOT\n--env TITLE\t--input  IN\t\tinput-recursive DIR\t--OUTPUT OUT\toutput-recursive LOGS\n\
                \n#1 of 2\ts3://bkt/hamlet.txt\tnote\ts3://bkt/d/\ts3://out/1\ts3://out/l1\r\nTwelfth \"Night\"\t\t\t\ts3://out/2\n";
    let (columns, rows, mistakes) = tsv(text);
    assert_eq!(mistakes, [""; 0]);
    let named: Vec<(Kind, &str)> = columns.iter().map(|c| (c.kind, c.name.as_str())).collect();
    let expected = [
        (Kind::Env, "TITLE"),
        (Kind::Input, "IN"),
        (Kind::InputRecursive, "DIR"),
        (Kind::Output, "OUT"),
        (Kind::OutputRecursive, "LOGS"),
    ];
    assert_eq!(named, expected);
    // After the header a hash is text; a column without a name is left out; cells at the end may be missing.
    assert_eq!(
        values(&rows)[0],
        ["#1 of 2", "s3://bkt/hamlet.txt", "s3://bkt/d/", "s3://out/1", "s3://out/l1"]
    );
    assert_eq!(values(&rows)[1], ["Twelfth \"Night\"", "", "", "s3://out/2", ""]);
    assert_eq!((rows[0].row, rows[1].row), (1, 2));
}

#[test]
fn csv_has_quotes_and_the_same_rules() {
    let text = "\u{feff}# a, comment\n\nenv A,\"--env B\",\n\"x, \"\"y\"\"\",\"two\nlines\",note\n\n#,z,\n";
    let (_, rows, mistakes) = read_as(Format::Csv, text);
    assert_eq!(mistakes, [""; 0]);
    assert_eq!(values(&rows), [["x, \"y\"", "two\nlines"], ["#", "z"]]);
    assert_eq!(Format::of(Path::new("a/Tasks.CSV")), Format::Csv);
    assert_eq!(Format::of(Path::new("tasks.txt")), Format::Tsv);
    let (_, _, mistakes) = read_as(Format::Csv, "# c\n--input A\n\n\"a\nb\"\nhttp://x\n");
    assert!(mistakes[0].starts_with("t, row 1 (line 4), column 1 (--input A): "), "{mistakes:?}");
    assert!(mistakes[1].starts_with("t, row 2 (line 6), column 1 (--input A): "), "{mistakes:?}");
}

#[test]
fn mistakes_name_row_column_and_reason_all_at_once() {
    let text = "--input IN\t--output OUT\t--env E\n\
                s3://bkt/a\ts3://bkt/x/\t1\n\
                \nhttp://b/a\ts3://-/x\t2\t\n\
                s3://bkt/k\ts3://bkt/y\t3\t\tmore\n";
    let (_, rows, mistakes) = tsv(text);
    assert_eq!(rows, []);
    assert_eq!(
        mistakes,
        [
            "t, row 1 (line 2), column 2 (--output OUT): \"s3://bkt/x/\" names a folder: write a key, or use --output-recursive",
            "t, row 2 (line 4), column 1 (--input IN): \"http://b/a\" does not begin with s3://",
            "t, row 2 (line 4), column 2 (--output OUT): \"s3://-/x\" names no bucket: write s3://bucket/key",
            "t, row 3 (line 5) has a value in cell 5, and the header has 3 cells",
        ]
    );
    let (_, _, mistakes) = tsv("--evn A\t--env\t--env A B\t--env 1A\t--env A\t--input A\t--env S3_A\nx\n");
    let parts = [
        "--input-recursive",
        "no name",
        "more than one",
        "no digit first",
        "sets A, as column 5",
        "sets S3_A, as column 6",
    ];
    assert_eq!(mistakes.len(), parts.len(), "{mistakes:#?}");
    for (mistake, part) in mistakes.iter().zip(parts) {
        assert!(mistake.contains(part), "{part:?} in {mistake}");
    }
}

#[test]
fn tables_with_nothing_in_them_are_mistakes() {
    for (text, part) in [
        ("", "is empty"),
        ("# only\n\n", "is empty"),
        ("--env A\n\n", "no row"),
        ("\t\nx\ty\n", "without a column"),
    ] {
        let (_, _, mistakes) = tsv(text);
        assert!(mistakes[0].contains(part), "{part:?} in {mistakes:?}");
    }
}

#[test]
fn mistakes_are_counted_to_the_end_and_shown_to_a_hundred() {
    let text = format!("--input A\n{}", "x\n".repeat(1234));
    let (_, _, mistakes) = tsv(text);
    assert_eq!((mistakes.len(), mistakes[100].as_str()), (101, "… and 1134 more in t"));
}

#[test]
fn values_that_no_program_can_be_started_with_are_mistakes() {
    let long = "x".repeat(131_070);
    let (_, _, mistakes) = tsv(format!("--env A\n{long}\n"));
    assert!(mistakes[0].contains("131070 bytes"), "{mistakes:?}");
    let most = &long[1..];
    assert_eq!(tsv(format!("--env A\n{most}\n")).2, [""; 0]);
    assert!(tsv("--env A\na\0b\n").2[0].contains("NUL"));
    for name in ["a/..", ".", &"x".repeat(256)] {
        assert!(
            tsv(format!("--output A\ns3://out/{name}\n")).2[0].contains("no file can be called"),
            "{name}"
        );
    }
    let header: Vec<String> = (0..9).map(|n| format!("--env A{n}")).collect();
    let (_, _, mistakes) = tsv(format!("{}\n{}\n", header.join("\t"), [&most[1..]; 9].join("\t")));
    assert!(mistakes[0].contains("environment takes 1048576"), "{mistakes:?}");
    // A secret that was put into the table by mistake is not repeated.
    let (_, _, mistakes) = tsv("--secret-env A\nhunter 2\n");
    assert!(mistakes[0].contains("no name or ARN") && !mistakes[0].contains("hunter"), "{mistakes:?}");
}

#[test]
fn bytes_that_are_no_text_cost_their_row() {
    let (_, rows, mistakes) = tsv(b"--env A\na\n\xff\nb\n");
    assert_eq!(values(&rows), [["a"], ["b"]]);
    assert_eq!(rows[1].row, 3, "the rows behind keep their numbers");
    assert!(mistakes[0].contains("row 2 (line 3) is not UTF-8"), "{mistakes:?}");
}

/// Gives a header, and then a quote that is never closed.
struct Endless(u64);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let head = b"--env A,--env B\n1,2\n\"";
        let at = usize::try_from(self.0).unwrap().min(head.len());
        let n = if at < head.len() { (&head[at..]).read(buffer)? } else { io::repeat(b'x').read(buffer)? };
        self.0 += n as u64;
        assert!(self.0 < 64 << 20, "it is all read");
        Ok(n)
    }
}

#[test]
fn a_quote_that_is_not_closed_does_not_fill_the_memory() {
    for format in [Format::Csv, Format::Tsv] {
        let mut mistakes = Mistakes::new("t");
        read(Endless(0), format, &mut mistakes, |_| Ok(())).unwrap();
        let told = mistakes.told().pop().unwrap();
        assert!(told.contains("longer than 4194304 bytes"), "{told}");
    }
}

/// Rows made by chance come back as they were, in both forms.
#[test]
fn what_is_written_is_read() {
    let mut chance = fastrand::Rng::with_seed(7);
    for _ in 0..300 {
        let width = chance.usize(1..6);
        let header: Vec<String> = (0..width).map(|n| format!("--env V{n}")).collect();
        let rows: Vec<Vec<String>> = (0..chance.usize(1..20))
            .map(|_| {
                (0..width)
                    .map(|_| {
                        let alphabet =
                            ['a', ' ', '"', ',', '#', 'ü', '\u{1f600}', '$', '\'', '\\', '\u{2028}'];
                        (0..chance.usize(0..8)).map(|_| *chance.choice(&alphabet).unwrap()).collect()
                    })
                    .collect::<Vec<String>>()
            })
            // A line of spaces alone is blank.
            .filter(|row| !row.join("\t").chars().all(|c| c == ' '))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let ends = if chance.bool() { "\n" } else { "\r\n" };
        let text: String = std::iter::once(&header).chain(&rows).map(|row| row.join("\t") + ends).collect();
        let (_, read, mistakes) = tsv(&text);
        assert_eq!(mistakes, [""; 0], "{text:?}");
        assert_eq!(read.into_iter().map(|row| row.values).collect::<Vec<_>>(), rows, "{text:?}");

        let mut writer = csv::Writer::from_writer(Vec::new());
        std::iter::once(&header).chain(&rows).for_each(|row| writer.write_record(row).unwrap());
        let text = writer.into_inner().unwrap();
        let (_, read, mistakes) = read_as(Format::Csv, &text);
        assert_eq!(mistakes, [""; 0], "{text:?}");
        assert_eq!(read.into_iter().map(|row| row.values).collect::<Vec<_>>(), rows, "{text:?}");
    }
}

use std::path::Path;
