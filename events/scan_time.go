package events

import "time"

// timeLayout is how times are written; years have four digits, so they are 1 to 9999.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// parseTime reads timeLayout to the letter; time.Parse is slower, and more lenient.
func parseTime(text []byte) (t time.Time, ok bool) {
	if len(text) != len(timeLayout) {
		return t, false
	}
	for i, c := range text {
		want := timeLayout[i]
		digit := want >= '0' && want <= '9'
		if digit != (c >= '0' && c <= '9') || !digit && c != want {
			return t, false
		}
	}
	number := func(from, to int) (n int) {
		for _, c := range text[from:to] {
			n = n*10 + int(c-'0')
		}
		return n
	}
	year, month, day := number(0, 4), number(5, 7), number(8, 10)
	hour, minute, second := number(11, 13), number(14, 16), number(17, 19)
	if year < 1 || hour > 23 || minute > 59 || second > 59 {
		return t, false
	}
	t = time.Date(year, time.Month(month), day, hour, minute, second, number(20, 26)*1000, time.UTC)
	// A day or month that does not exist has become another one.
	return t, t.Day() == day && t.Month() == time.Month(month)
}
