package config

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// Sources are where settings come from. What is set in several is as the last of them
// says: defaults, the file, the environment, flags.
type Sources struct {
	Flags   *pflag.FlagSet // that Flags returned, parsed; nil: none
	Environ []string       // as os.Environ has it
}

// Loaded are settings with where each of them comes from.
type Loaded struct {
	Settings
	// File is the path of the file; empty: there is none.
	File string
	// Unknown are the settings of the file that there are not: errors for who asks, as
	// sioedge check does, warnings at a start.
	Unknown []error

	sources Sources
	empty   bool // the file has nothing
	tree    *koanf.Koanf
	lower   map[string]string // path: file:line
	upper   map[string]string // path: a variable's name, or --flag
}

// foreign are the variables that Kubernetes and Docker set for a Service, or a
// linked container, called sioedge or sioedge-something: they name no flag and are
// nobody's mistake.
var foreign = regexp.MustCompile(`^SIOEDGE_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// Variables that commands other than serve have, which name no flag of it either.
const (
	TokenVariable  = "SIOEDGE_TOKEN"   // what sioedge client shows servers
	APIURLVariable = "SIOEDGE_API_URL" // where the HTTP API is
)

// Foreign tells whether a variable is nobody's mistake, although its name begins with
// SIOEDGE_: the platform has set it, or it is for other commands.
func Foreign(name string) bool {
	return name == TokenVariable || name == APIURLVariable || foreign.MatchString(name)
}

// Load reads all sources. The error has all faults, each [Placed].
func Load(s Sources) (*Loaded, error) { return load(s, false) }

// load is Load; again says that the settings are in use already.
func load(s Sources, again bool) (*Loaded, error) {
	l := &Loaded{sources: s, tree: koanf.New("."), upper: map[string]string{}}
	env, faults := s.environment()
	fromEnv, fromFlags := l.values(env.set, (*Key).Env), l.values(s.flags(), func(k *Key) string { return "--" + k.Flag })
	faults = append(faults, fromEnv.faults...)
	faults = append(faults, fromFlags.faults...)
	for _, texts := range [][]string{env.set[ConfigFlag], s.flags()[ConfigFlag]} {
		if texts != nil {
			l.File = texts[0]
		}
	}
	r := &reader{name: l.File, places: map[string]string{}, x: expander{env: env.all, dir: filepath.Dir(l.File)}}
	var file map[string]any
	if l.File != "" {
		text, err := readFile(l.File, mostFile, again)
		if err == nil {
			file = r.read(text)
		} else {
			r.faults = append(r.faults, &Placed{Place: l.File, Err: cause(err)})
		}
		l.empty = len(file) == 0
	}
	if faults = append(faults, r.faults...); len(faults) > 0 {
		return nil, joined(append(faults, r.unknown...)) // which may be why
	}
	l.lower, l.Unknown = r.places, r.unknown
	if err := l.settle(defaults(env.all["PORT"]), file, fromEnv.tree, fromFlags.tree); err != nil {
		return nil, err
	}
	return l, nil
}

// settle makes the settings of what their sources say, the last of which counts.
func (l *Loaded) settle(layers ...map[string]any) error {
	for _, layer := range layers {
		if err := l.tree.Load(confmap.Provider(layer, ""), nil); err != nil {
			return err
		}
	}
	if err := l.tree.Unmarshal("", &l.Settings); err != nil {
		return err
	}
	if err := l.Settings.check(); err != nil {
		return l.Place(err)
	}
	return nil
}

// An environ is the environment: all of it, and what in it sets which flag.
type environ struct {
	all map[string]string
	set map[string][]string // by flag: elements, of a list
}

// environment finds the variables of flags, and refuses those that look like them.
func (s *Sources) environment() (e environ, faults []error) {
	e = environ{map[string]string{}, map[string][]string{}}
	byEnv := map[string]*Key{}
	for _, k := range keys.flags {
		byEnv[k.Env()] = k
	}
	for _, kv := range s.Environ {
		name, value, _ := strings.Cut(kv, "=")
		e.all[name] = value
		k := byEnv[name]
		switch {
		case k == nil && strings.HasPrefix(name, "SIOEDGE_") && !Foreign(name):
			faults = append(faults, &Placed{Place: name, Err: errors.New("names no setting" + meantVariable(name, byEnv))})
		case k == nil:
		case keys.types[k.Path].Kind() == reflect.Slice:
			e.set[k.Flag] = append([]string{}, split(value)...)
		default:
			e.set[k.Flag] = []string{strings.TrimSpace(value)}
		}
	}
	return e, faults
}

// meantVariable says what the name of a variable was probably meant to be.
func meantVariable(name string, byEnv map[string]*Key) string {
	best := nearest(name, slices.Sorted(maps.Keys(byEnv)), 4)
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// flags returns what was given on the command line.
func (s *Sources) flags() map[string][]string {
	set := map[string][]string{}
	if s.Flags == nil {
		return set
	}
	s.Flags.VisitAll(func(f *pflag.Flag) { // another set that shares the flags may have parsed them
		if v, ok := f.Value.(*flagValue); ok && f.Changed {
			set[f.Name] = v.texts
		}
	})
	return set
}

// A layer is what one source sets.
type layer struct {
	tree   map[string]any
	faults []error
}

// values makes a layer of texts, by flag; place says where the text of a key is from.
func (l *Loaded) values(set map[string][]string, place func(k *Key) string) layer {
	y := layer{tree: map[string]any{}}
	for _, k := range keys.flags {
		texts, ok := set[k.Flag]
		if !ok || k.Path == "" {
			continue
		}
		v, err := k.typed(texts)
		if err != nil {
			Each(err, func(err error) { y.faults = append(y.faults, &Placed{Place: place(k), Err: err}) })
			continue
		}
		l.upper[k.Path] = place(k)
		put(y.tree, k.Path, v)
	}
	return y
}

// typed makes a value of the texts of a flag, a variable or a default: one, but for a
// list.
func (k *Key) typed(texts []string) (any, error) {
	t := keys.types[k.Path]
	if t.Kind() != reflect.Slice {
		return k.value(t, texts[0], texts[0])
	}
	var faults []error
	all := []any{}
	for _, text := range texts {
		if group(t.Elem()) {
			tree := map[string]any{}
			keys.fill(tree, t.Elem(), k.Path+"[]")
			tree[shortOf(t.Elem())] = text
			all = append(all, tree)
			continue
		}
		v, err := k.value(t.Elem(), text, text)
		if err != nil {
			faults = append(faults, err)
		}
		all = append(all, v)
	}
	return all, errors.Join(faults...)
}

// defaults returns what is there if nothing is set. port is $PORT.
func defaults(port string) map[string]any {
	tree := map[string]any{}
	keys.fill(tree, keys.types[""], "")
	if port != "" {
		put(tree, "listen", []any{":" + port})
	}
	return tree
}

// fill puts the defaults of a group into its tree.
func (s *schema) fill(tree map[string]any, t reflect.Type, pattern string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("koanf")
		p := join(pattern, name)
		if group(f.Type) {
			sub := map[string]any{}
			s.fill(sub, f.Type, p)
			tree[name] = sub
			continue
		}
		k := s.paths[p]
		if k == nil || k.Default == "" {
			continue
		}
		texts := []string{k.Default}
		if f.Type.Kind() == reflect.Slice {
			texts = split(k.Default)
		}
		v, err := k.typed(texts)
		if err != nil {
			panic("config: the default of " + p + " " + err.Error())
		}
		tree[name] = v
	}
}

// put sets what is at a path.
func put(tree map[string]any, path string, v any) {
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		sub, ok := tree[name].(map[string]any)
		if !ok {
			sub = map[string]any{}
			tree[name] = sub
		}
		tree = sub
	}
	tree[names[len(names)-1]] = v
}

// SetKeys returns the paths of all that the file, the environment or flags set, in order.
func (l *Loaded) SetKeys() []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(l.upper)), maps.Keys(l.lower))
	slices.Sort(all)
	return slices.Compact(all)
}

// Getenv is os.Getenv for the environment that the settings are of.
func (l *Loaded) Getenv(name string) string {
	for _, kv := range slices.Backward(l.sources.Environ) {
		if n, v, ok := strings.Cut(kv, "="); ok && n == name {
			return v
		}
	}
	return ""
}

// Place makes the keys of all Faults in err places: those of the file, the variable or
// the flag that set them. What is no Fault stays as it is.
func (l *Loaded) Place(err error) error {
	var all []error
	Each(err, func(err error) {
		var f *Fault
		if errors.As(err, &f) {
			err = l.placed(f)
		}
		all = append(all, err)
	})
	return joined(all)
}

// placed says where a fault is.
func (l *Loaded) placed(f *Fault) error {
	if place, _, ok := l.where(f.Key); ok {
		if strings.HasPrefix(place, "--") || strings.HasPrefix(place, "SIOEDGE_") {
			return &Placed{Place: place, Err: f.Err}
		}
		return &Placed{place, f.Key, f.Err}
	}
	if k := keys.paths[f.Key]; k != nil && k.Flag != "" {
		return &Placed{Place: "--" + k.Flag, Err: f.Err}
	}
	return f
}

// where says what set a key, or the next group around it that was set, and which.
func (l *Loaded) where(key string) (place, at string, ok bool) {
	for at := key; at != ""; at = at[:max(strings.LastIndexAny(at, ".["), 0)] {
		if place, ok := l.upper[at]; ok {
			return place, at, true
		}
		if place, ok := l.lower[at]; ok && !l.above(at) {
			return place, at, true
		}
	}
	return "", "", false
}

// Overridden says where the file sets a key, and what sets it instead.
func (l *Loaded) Overridden(key string) (file, by string, ok bool) {
	file, inFile := l.lower[key]
	by, above := l.upper[key]
	return file, by, inFile && above
}

// above says whether something above the file sets what a path is in.
func (l *Loaded) above(path string) bool {
	first, _, _ := strings.Cut(path, "[")
	_, ok := l.upper[first]
	return ok
}

// cause returns an error of the file system without the path, which is said before it.
func cause(err error) error {
	if i := strings.Index(err.Error(), ": "); i >= 0 && slices.Contains([]string{"stat", "open", "read"}, strings.SplitN(err.Error(), " ", 2)[0]) {
		return fmt.Errorf("cannot be read: %w", errors.Unwrap(err))
	}
	return err
}
