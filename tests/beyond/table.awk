# One row a case, from lines of case, program and result; the last result of each counts, since it tells of all.
BEGIN { FS = "\t"; row = "| %s | %s | %s |\n"; printf row, "case", "stock", "ours"; print "|---|---|---|" }
!($1 in seen) { seen[$1] = 1; cases[++count] = $1 }
{ result[$1, $2] = $3 }
END { for (n = 1; n <= count; n++) printf row, cases[n], result[cases[n], "redis-sentinel"], result[cases[n], "sentineld"] }
