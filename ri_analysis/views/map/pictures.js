// Puts a sheet of thumbnails where maps find it: it is large, and stays the same whatever the map shows.
export default function ({ data }) {
  globalThis.riPictures = { ...globalThis.riPictures, [data.name]: data };
}
