package http1

import "strconv"

// AppendResponse appends a whole response of HTTP/1.1 to dst: status line, the
// given fields, Content-Length, an empty line, body. There is no Date field
// (RFC 9110, 6.6.1 allows that to a server without a clock) and no Connection
// field unless it is given. The fields must not hold Content-Length or
// Transfer-Encoding. To 1xx, 204 and 304 neither Content-Length nor body is
// appended.
//
// A field that is not Valid is left out, so that a value which an application
// took from somewhere can never become a second response.
func AppendResponse(dst []byte, status int, header []Field, body []byte) []byte {
	if status < 200 || status == 204 || status == 304 {
		return AppendHead(dst, status, header) // RFC 9110, 8.6
	}
	dst = appendFields(appendStatusLine(dst, status), header)
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}

// AppendHead appends a response head with exactly the given fields: for 101, for
// the answer to HEAD, or before a body of which the fields tell the length. A
// field that is not Valid is left out.
func AppendHead(dst []byte, status int, header []Field) []byte {
	dst = appendFields(appendStatusLine(dst, status), header)
	return append(dst, "\r\n"...)
}

// AppendContinue appends the interim response that Expect100 waits for.
func AppendContinue(dst []byte) []byte {
	return append(dst, "HTTP/1.1 100 Continue\r\n\r\n"...)
}

func appendStatusLine(dst []byte, status int) []byte {
	if status == 200 {
		return append(dst, "HTTP/1.1 200 OK\r\n"...)
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, StatusText(status)...)
	return append(dst, "\r\n"...)
}

func appendFields(dst []byte, header []Field) []byte {
	for _, f := range header {
		if f.Valid() {
			dst = append(dst, f.Name...)
			dst = append(dst, ": "...)
			dst = append(dst, f.Value...)
			dst = append(dst, "\r\n"...)
		}
	}
	return dst
}

var statusTexts = map[int]string{
	100: "Continue",
	101: "Switching Protocols",
	200: "OK",
	201: "Created",
	202: "Accepted",
	204: "No Content",
	206: "Partial Content",
	301: "Moved Permanently",
	302: "Found",
	303: "See Other",
	304: "Not Modified",
	307: "Temporary Redirect",
	308: "Permanent Redirect",
	400: "Bad Request",
	401: "Unauthorized",
	403: "Forbidden",
	404: "Not Found",
	405: "Method Not Allowed",
	406: "Not Acceptable",
	408: "Request Timeout",
	409: "Conflict",
	410: "Gone",
	411: "Length Required",
	412: "Precondition Failed",
	413: "Payload Too Large",
	414: "URI Too Long",
	415: "Unsupported Media Type",
	416: "Range Not Satisfiable",
	417: "Expectation Failed",
	421: "Misdirected Request",
	426: "Upgrade Required",
	429: "Too Many Requests",
	431: "Request Header Fields Too Large",
	500: "Internal Server Error",
	501: "Not Implemented",
	502: "Bad Gateway",
	503: "Service Unavailable",
	504: "Gateway Timeout",
	505: "HTTP Version Not Supported",
}

// StatusText returns the reason phrase of a status as Node writes it, the empty
// string for a status without one here.
func StatusText(status int) string { return statusTexts[status] }
