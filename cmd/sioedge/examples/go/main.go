// Command go is the chat's application in Go: Echo, and SQLite. See ../README.md.
//
// What fails panics, by lo.Must, and is answered with 500: the edge tries again.
package main

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/golang-jwt/jwt/v5"
	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"
	"github.com/samber/lo"
	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/tidwall/gjson"
	_ "modernc.org/sqlite"
)

type object = map[string]any

// Clients send these texts with events, of so many characters at most.
var texts = map[string][]string{"message": {"room", "text", "key"}, "history": {"room"}, "read": {"room", "id"}}
var longest = map[string]int{"nick": 24, "room": 32, "text": 2000, "key": 64, "id": 20}

var db = lo.Must(sql.Open("sqlite", os.Getenv("DATABASE")+"?_pragma=busy_timeout(5000)"))

// check looks for texts in what a client has sent, which may be anything.
func check(arg gjson.Result, names ...string) error {
	for _, name := range names {
		if text := arg.Get(name).Str; strings.TrimSpace(text) == "" || len([]rune(text)) > longest[name] {
			return fmt.Errorf("%s must have 1 to %d characters", name, longest[name])
		}
	}
	return nil
}

// query returns what a statement finds, which is JSON.
func query(statement string, values ...any) gjson.Result {
	var found string
	lo.Must0(db.QueryRow(statement, values...).Scan(&found))
	return gjson.Parse(found)
}

const entry = `json_object('id', id || '', 'room', room, 'from', json_object('id', nick, 'nick', nick), 'text', text, 'key', key, 'at', at)`

func tellOthers(room, ev string, arg any) []object {
	return []object{{"op": "emit", "to": []string{"room:" + room}, "except": []string{"$sid"}, "ev": ev, "args": []any{arg}}}
}

// result does what a client asks for, and says what the edge is to do.
func result(e gjson.Result, _ int) object {
	id, ev, user, arg, room := e.Get("id").Str, e.Get("ev").Str, e.Get("user").Str, e.Get("args.0"), e.Get("args.0.room").Str
	if no := check(arg, texts[ev]...); no != nil {
		return object{"id": id, "ack": []object{{"error": no.Error()}}}
	}
	switch ev {
	case "message": // one that comes again, by its key, is told again, by its id: the answer may have been lost
		said := query(`INSERT INTO messages (room, nick, text, key, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (nick, key)
			DO UPDATE SET key = key RETURNING `+entry, room, user, arg.Get("text").Str, arg.Get("key").Str, time.Now().UnixMilli())
		return object{"id": id, "ack": []any{said.Get("{id,at}").Value()}, "actions": tellOthers(said.Get("room").Str, ev, said.Value())}
	case "history":
		said := query(`SELECT json_group_array(json(said) ORDER BY id) FROM
			(SELECT id, `+entry+` AS said FROM messages WHERE room = ? ORDER BY id DESC LIMIT 50)`, room)
		read := query(`SELECT json_group_array(json_object('user', nick, 'id', id || '')) FROM
			(SELECT * FROM receipts WHERE room = ? ORDER BY id DESC LIMIT 100)`, room)
		return object{"id": id, "ack": []object{{"history": said.Value(), "read": read.Value()}}}
	case "read":
		kept := lo.Must(lo.Must(db.Exec(`INSERT INTO receipts SELECT room, ?, id FROM messages WHERE room = ? AND id = ?
			ON CONFLICT (room, nick) DO UPDATE SET id = max(id, excluded.id)`, user, room, arg.Get("id").Str)).RowsAffected())
		// It is 0, and nothing is told, if nobody has said that; else 1.
		return object{"id": id, "actions": tellOthers(room, ev, object{"room": room, "user": user, "id": arg.Get("id").Str})[:kept]}
	}
	return object{"id": id}
}

// announce says something to everybody, by the HTTP API of the edge.
func announce(words string) {
	call := object{"nsp": "/chat", "ev": "system", "args": []object{{"text": words}}}
	post := resty.New().SetTimeout(2 * time.Second).R().SetAuthToken(os.Getenv("API_KEY")).SetBody(call).Post
	if _, err := post(os.Getenv("API") + "/api/emit"); err != nil {
		fmt.Println("the edge was not told:", err)
	}
}

func main() {
	lo.Must(db.Exec(string(lo.Must(os.ReadFile(os.Getenv("SCHEMA"))))))
	edge := lo.Must(webhooks.NewWebhook(os.Getenv("WEBHOOK_SECRET")))
	app := echo.New()
	app.Use(middleware.Recover(), middleware.BodyLimit(2<<20))
	app.POST("/sio", func(c *echo.Context) error {
		body := lo.Must(io.ReadAll(c.Request().Body))
		if edge.Verify(body, c.Request().Header) != nil { // Standard Webhooks: by the edge, and just now
			return c.JSON(http.StatusUnauthorized, object{"error": "not signed by the edge"})
		}
		return c.JSON(http.StatusOK, object{"results": lo.Map(gjson.GetBytes(body, `events.#(type=="event")#`).Array(), result)})
	})
	app.POST("/login", func(c *echo.Context) error {
		arg := gjson.ParseBytes(lo.Must(io.ReadAll(c.Request().Body)))
		if no := check(arg, "nick"); no != nil {
			return c.JSON(http.StatusBadRequest, object{"error": no.Error()})
		}
		nick := arg.Get("nick").Str // there are no passwords: whoever says so is it
		if lo.Must(lo.Must(db.Exec("INSERT OR IGNORE INTO users VALUES (?)", nick)).RowsAffected()) == 1 {
			announce(nick + " is new here")
		}
		// The rooms are those that it may join.
		claims := jwt.MapClaims{"sub": nick, "exp": time.Now().Add(time.Hour).Unix(), "rooms": []string{"room:*"}}
		token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
		return c.JSON(http.StatusOK, object{"token": lo.Must(token.SignedString([]byte(os.Getenv("JWT_SECRET"))))})
	})
	app.StaticFS("/", os.DirFS(os.Getenv("PUBLIC")))
	lo.Must0(app.Start(os.Getenv("LISTEN")))
}
